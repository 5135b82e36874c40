// The report's script: the filter and order of the table, the read-out of the plots, and the search trees.
// Whatever comes from a run is shown as text, never as markup.
"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const packed = read("packed");
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Make an element: attributes from an object, children as nodes or as text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "circle", "path", "text", "tspan", "title"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const signed = (value) => value.toFixed(2).replace("-", "−");
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// --- the table of theorems ---------------------------------------------------------------------------

const body = $("#table tbody");

const OUTCOMES = {
  "": () => true,
  some: (all) => all.includes("proved"),
  every: (all) => all.every((status) => status === "proved"),
  split: (all) => all.includes("proved") && !all.every((status) => status === "proved"),
  none: (all) => !all.includes("proved"),
};

function filterTable() {
  const words = $("#find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const outcome = $("#outcome").value;
  const wanted = OUTCOMES[outcome] ?? ((all) => all.includes(outcome));
  let shown = 0;
  for (const row of body.rows) {
    const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
    const statuses = $$("[data-status]", row).map((cell) => cell.dataset.status);
    row.hidden = !(words.every((word) => text.includes(word)) && wanted(statuses));
    shown += !row.hidden;
  }
  const all = body.rows.length;
  $("#shown").textContent = shown === all ? plural(all, "theorem") : `${shown} of ${plural(all, "theorem")}`;
}

function sortTable(header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  const sign = down ? -1 : 1;
  const key = (row) => {
    const cell = row.cells[header.cellIndex];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  body.append(...[...body.rows].sort((a, b) => sign * order(key(a), key(b))));
  for (const other of $$("thead th", $("#table"))) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
}

$("#find").addEventListener("input", filterTable);
$("#outcome").addEventListener("change", filterTable);
for (const header of $$("thead th", $("#table"))) $("button", header).addEventListener("click", () => sortTable(header));
body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row) show(Number(row.dataset.row));
});

// --- the read-out of the plots -------------------------------------------------------------------------

function solvedWithin(curve, cost) {
  let solved = 0;
  for (const [at, number] of curve) {
    if (at > cost) break;
    solved = number;
  }
  return solved;
}

function readOut(svg, event) {
  const box = svg.getBoundingClientRect();
  const { width } = svg.viewBox.baseVal;
  const [axis] = $$(".grid", svg);
  const left = Number(axis.getAttribute("x1"));
  const right = Number(axis.getAttribute("x2"));
  const x = Math.min(right, Math.max(left, ((event.clientX - box.left) / box.width) * width));
  const low = Number(svg.dataset.low);
  const cost = low * (Number(svg.dataset.high) / low) ** ((x - left) / (right - left));
  const pointer = $(".pointer", svg);
  pointer.removeAttribute("hidden");
  pointer.setAttribute("x1", x);
  pointer.setAttribute("x2", x);
  const solved = data.runs.map((name, run) => `${name}: ${solvedWithin(data.curves[run][svg.dataset.plot], cost)}`);
  $(".readout", svg.parentElement).textContent = `within ${cost.toPrecision(2) * 1}: ${solved.join(" · ")}`;
}

for (const svg of $$("svg.cactus")) {
  svg.addEventListener("pointermove", (event) => readOut(svg, event));
  svg.addEventListener("pointerleave", () => {
    $(".pointer", svg).setAttribute("hidden", "");
    $(".readout", svg.parentElement).textContent = "\u00a0";
  });
}

// --- one theorem ---------------------------------------------------------------------------------------

const dialog = $("#theorem");
const open = { row: 0, run: 0 };

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** Open a theorem, in the run that is looked at if that one has it. */
async function show(row, run = open.run) {
  const runs = packed[row].map((text, index) => (text ? index : -1)).filter((index) => index >= 0);
  open.row = row;
  open.run = runs.includes(run) ? run : runs[0];
  $("#theorem-h").textContent = data.problems[row];
  showTabs(runs);
  if (!dialog.open) dialog.showModal();
  const wanted = packed[row][open.run];
  const detail = await unpack(wanted);
  if (wanted === packed[open.row][open.run]) showDetail(detail);
}

function showTabs(runs) {
  const tab = (index) =>
    make("button", { type: "button", role: "tab", class: `run-${index % 8}`, "aria-selected": String(index === open.run), click: () => show(open.row, index) }, data.runs[index]);
  $(".tabs").replaceChildren(...(data.runs.length > 1 ? runs.map(tab) : []));
}

function showDetail(detail) {
  const tree = detail.tree ? new TreeView(detail.tree, detail.seed, detail.attempts.length > 1) : null;
  const missing = make("p", { class: "canvas note" }, "There is no search tree: the search did not begin, or was not recorded.");
  const statement = make("div", {}, make("h3", {}, "Statement"), make("pre", { class: "lean" }, detail.statement || "not recorded"));
  const outcome = make("div", {}, make("h3", {}, "Outcome"), ...detail.attempts.flatMap((a) => describe(a, detail)));
  const about = make("div", { class: "about" }, statement, outcome);
  $("#detail").replaceChildren(about, ...(tree ? [tree.element, tree.state] : [missing]));
}

/** An attempt on a line; of the one whose tree is shown also the proof, or why there is none. */
function describe(attempt, { attempts, seed }) {
  const several = attempts.length > 1;
  const seconds = `${attempt.search_seconds.toFixed(1)} s (Lean ${attempt.lean_seconds.toFixed(1)}, model ${attempt.model_seconds.toFixed(1)}, check ${attempt.check_seconds.toFixed(1)})`;
  const parts = [
    several ? `seed ${attempt.seed}` : "",
    plural(attempt.expansions, "expansion"),
    `${plural(attempt.tactics, "tactic")}, ${attempt.errors.toLocaleString("en")} failed`,
    seconds,
    attempt.crashes ? plural(attempt.crashes, "crash", "crashes") : "",
    attempt.tries > 1 ? `begun ${attempt.tries} times` : "",
    attempt.error_kind ? `error: ${attempt.error_kind}` : "",
  ];
  const line = make("p", { class: `attempt status-${attempt.status}` }, make("span", { class: "sign" }, "●"), ` ${data.words[attempt.status]} · ${parts.filter(Boolean).join(" · ")}`);
  if (attempt.seed !== seed) return [line];
  const message = attempt.message ? make("p", { class: "note" }, attempt.message) : null;
  const proof = attempt.proof ? make("pre", { class: "lean" }, attempt.proof.join("\n")) : null;
  return [line, message, proof].filter(Boolean);
}

/** Go to the next theorem that the filter shows, or to the one before. */
function move(step) {
  const rows = [...body.rows].filter((row) => !row.hidden).map((row) => Number(row.dataset.row));
  const place = rows.indexOf(open.row) + step;
  if (rows.length) show(rows[(place + rows.length) % rows.length]);
}

$("#previous").addEventListener("click", () => move(-1));
$("#next").addEventListener("click", () => move(1));
$("#close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

// --- a search tree -------------------------------------------------------------------------------------

const ROW = 32;
const GAP = 40;
const LETTER = 7.25;
const MOST_LETTERS = 30;

class TreeView {
  constructor(tree, seed, several) {
    this.tree = tree;
    this.children = tree.nodes.map(() => []);
    this.tactics = tree.nodes.map(() => "");
    tree.nodes.forEach((node, place) => this.attach(node, place));
    this.children.forEach((list) => list.sort((a, b) => this.rank(a) - this.rank(b)));
    this.opened = new Set(tree.nodes.flatMap((node, place) => (place === 0 || node.status === "proved" ? [place] : [])));
    this.selected = 0;
    this.state = make("aside", { class: "state", "aria-live": "polite", "aria-label": "The chosen state" });
    this.canvas = make("div", { class: "canvas" });
    this.element = make("div", { class: "tree" }, this.tools(seed, several), this.canvas);
    this.draw();
    this.showState();
  }

  attach(node, place) {
    if (node.parent === null) return;
    this.children[node.parent].push(place);
    this.tactics[place] = this.tree.nodes[node.parent].edges.find((edge) => edge[4] === place)?.[0] ?? "";
  }

  /** Proved states come first, then those that were expanded, in the order of the search. */
  rank(place) {
    const node = this.tree.nodes[place];
    return (node.status === "proved" ? 0 : 1e9) + (node.visit ?? 1e6 - node.score);
  }

  tools(seed, several) {
    const { nodes, all_nodes: all } = this.tree;
    const count = nodes.length === all ? plural(all, "state") : `${nodes.length} of ${plural(all, "state")}; the page leaves out the rest`;
    const set = (places) => () => {
      this.opened = new Set(places());
      this.draw();
    };
    const every = () => nodes.keys();
    const proof = () => [...nodes.keys()].filter((place) => place === 0 || nodes[place].status === "proved");
    const key = ["proved", "expanded", "open", "failed"].map((status) => make("span", { class: "key" }, make("i", { class: `swatch tree-${status}` }), status));
    return make("div", { class: "tools" },
      make("button", { type: "button", class: "all", click: set(every) }, "Expand all"),
      make("button", { type: "button", class: "few", click: set(proof) }, "Collapse"),
      make("span", { class: "dim" }, several ? `seed ${seed}: ${count}` : count), ...key);
  }

  // What a node leads to stands at its right, the first of it on the node's own line: a proof runs straight on.
  draw() {
    const visible = [];
    const widths = [];
    let row = 0;
    const visit = (place, depth) => {
      const width = this.width(place);
      widths[depth] = Math.max(widths[depth] ?? 0, width);
      visible.push({ place, depth, row, width });
      if (!this.opened.has(place)) return;
      const ends = this.finishing(place);
      ends.forEach((edge, index) => {
        row += index > 0;
        const wide = this.letters(edge[0]) * LETTER + 44;
        widths[depth + 1] = Math.max(widths[depth + 1] ?? 0, wide);
        visible.push({ place: null, parent: place, edge, depth: depth + 1, row, width: wide });
      });
      this.children[place].forEach((child, index) => {
        row += index + ends.length > 0;
        visit(child, depth + 1);
      });
    };
    visit(0, 0);
    const lefts = widths.reduce((list, width) => [...list, list.at(-1) + width + GAP], [2]);
    this.paint(visible, lefts, row);
  }

  finishing(place) {
    return this.tree.nodes[place].edges.filter((edge) => edge[2] === "finished");
  }

  letters(text) {
    return Math.min(MOST_LETTERS, text.length);
  }

  width(place) {
    const extra = this.failures(place) ? 14 + String(this.failures(place)).length * 7 : 0;
    return this.letters(this.label(place)) * LETTER + 34 + extra;
  }

  label(place) {
    return place === 0 ? "theorem" : this.tactics[place].replace(/\s+/g, " ");
  }

  failures(place) {
    const { edges, hidden } = this.tree.nodes[place];
    return edges.filter((edge) => edge[2] === "error" || edge[2] === "crash").length + (hidden.error ?? 0) + (hidden.crash ?? 0);
  }

  paint(visible, lefts, rows) {
    const at = new Map(visible.filter((item) => item.place !== null).map((item) => [item.place, item]));
    const links = make("g", { class: "links" });
    const shapes = visible.map((item) => {
      const parent = at.get(item.place === null ? item.parent : this.tree.nodes[item.place].parent);
      if (parent) this.isProof(item) ? links.append(this.link(parent, item, lefts)) : links.prepend(this.link(parent, item, lefts));
      return item.place === null ? this.leaf(item, lefts) : this.shape(item, lefts);
    });
    const [width, height] = [lefts.at(-1), (rows + 1) * ROW + 12];
    const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "tree", "aria-label": "Search tree" }, links, ...shapes);
    this.canvas.replaceChildren(svg);
  }

  isProof(item) {
    return item.place === null || this.tree.nodes[item.place].status === "proved";
  }

  link(parent, item, lefts) {
    const [x1, y1] = [lefts[parent.depth] + parent.width, parent.row * ROW + ROW / 2 + 4];
    const [x2, y2] = [lefts[item.depth], item.row * ROW + ROW / 2 + 4];
    const bend = x2 - GAP / 2;
    return make("path", { class: this.isProof(item) ? "proved" : "", d: `M${x1} ${y1}H${x2 - GAP}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` });
  }

  /** A rounded box with the tactic that led here, and how many tactics failed here. */
  shape(item, lefts) {
    const { place, width } = item;
    const node = this.tree.nodes[place];
    const failed = this.failures(place);
    const folds = this.children[place].length + this.finishing(place).length;
    const open = this.opened.has(place);
    const group = make("g", {
      class: `node tree-${node.status}${place === this.selected ? " selected" : ""}`,
      transform: `translate(${lefts[item.depth]} ${item.row * ROW + 6})`,
      role: "treeitem", tabindex: place === this.selected ? "0" : "-1", "data-node": place, "aria-level": item.depth + 1,
      "aria-selected": String(place === this.selected), "aria-expanded": folds ? String(open) : null,
      "aria-label": `${this.label(place)}: ${node.status}`,
      click: () => this.choose(place), keydown: (event) => this.onKey(event, place),
    },
      make("title", {}, place === 0 ? "the theorem" : this.tactics[place]),
      make("rect", { width, height: ROW - 8, rx: 7 }),
      make("circle", { class: "mark", cx: 12, cy: (ROW - 8) / 2, r: 4 }),
      make("text", { x: 22, y: 16.5 }, short(this.label(place), MOST_LETTERS)),
      failed ? make("text", { class: "count", x: width - 9, y: 16, "text-anchor": "end" }, `${failed}✗`) : null);
    if (folds && !open) group.append(make("circle", { class: "fold", cx: width + 14, cy: 12, r: 10 }), make("text", { class: "sum", x: width + 14, y: 15.5 }, `+${folds}`));
    return group;
  }

  /** The end of a proof: a tactic that leaves no goals. */
  leaf(item, lefts) {
    const transform = `translate(${lefts[item.depth]} ${item.row * ROW + 6})`;
    return make("g", { class: "node tree-proved finish", transform, click: () => this.choose(item.parent, true) },
      make("title", {}, `${item.edge[0]}: no goals left`),
      make("rect", { width: item.width, height: ROW - 8, rx: 12 }),
      make("text", { x: 12, y: 16.5 }, short(item.edge[0].replace(/\s+/g, " "), MOST_LETTERS)),
      make("text", { class: "mark", x: item.width - 12, y: 16.5, "text-anchor": "end" }, "∎"));
  }

  /** Show a state; one that is shown already is expanded or collapsed. */
  choose(place, stay = false) {
    if (!stay && (place === this.selected || !this.opened.has(place))) this.toggle(place);
    this.selected = place;
    this.draw();
    this.showState();
    $(`[data-node="${place}"]`, this.canvas)?.focus({ preventScroll: true });
  }

  toggle(place) {
    if (!this.opened.delete(place)) this.opened.add(place);
  }

  /** Show a state that may be hidden: expand all above it. */
  reveal(place) {
    for (let up = this.tree.nodes[place].parent; up !== null; up = this.tree.nodes[up].parent) this.opened.add(up);
    this.choose(place, true);
    $(`[data-node="${place}"]`, this.canvas).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  onKey(event, place) {
    const order = $$(".node[data-node]", this.canvas).map((element) => Number(element.dataset.node));
    const near = (step) => order[order.indexOf(place) + step] ?? place;
    const open = this.opened.has(place);
    const goals = {
      ArrowDown: () => this.choose(near(1), true),
      ArrowUp: () => this.choose(near(-1), true),
      ArrowRight: () => (open && this.children[place].length ? this.choose(this.children[place][0], true) : this.choose(place, open)),
      ArrowLeft: () => (open && this.children[place].length ? this.choose(place) : this.choose(this.tree.nodes[place].parent ?? 0, true)),
      Enter: () => this.choose(place),
      " ": () => this.choose(place),
    };
    if (!goals[event.key]) return;
    event.preventDefault();
    goals[event.key]();
  }

  showState() {
    const node = this.tree.nodes[this.selected];
    const turn = node.visit === null ? "not expanded" : `turn ${node.visit + 1} of the search`;
    const facts = `${node.status}, ${turn}, log-probability ${signed(node.logprob)}, score ${signed(node.score)}`;
    const goals = node.goals.map((goal) => make("pre", { class: "goal" }, ...this.goal(goal)));
    if (node.more_goals) goals.push(make("p", { class: "note" }, `and ${plural(node.more_goals, "more goal")}, not on this page`));
    this.state.replaceChildren(
      make("h3", {}, this.selected === 0 ? "The theorem" : `State ${node.id}`),
      make("p", { class: "note" }, facts),
      make("h4", {}, plural(node.goals.length + node.more_goals, "goal")), ...goals, ...this.listTactics(node));
  }

  goal(text) {
    const place = text.lastIndexOf("⊢");
    return place < 0 ? [text] : [text.slice(0, place), make("b", {}, "⊢"), text.slice(place + 1)];
  }

  listTactics(node) {
    const good = node.edges.filter((edge) => edge[2] === "state" || edge[2] === "finished");
    const bad = node.edges.filter((edge) => edge[2] !== "state" && edge[2] !== "finished");
    const { state: states = 0, ...others } = node.hidden;
    const unseen = Object.values(others).reduce((sum, n) => sum + n, 0);
    const list = good.map((edge) => this.tactic(edge));
    if (states) list.push(make("p", { class: "note" }, `and ${plural(states, "tactic")} to states that are not on this page`));
    return [
      list.length ? make("h4", {}, "Tactics that ran") : null, ...list,
      bad.length + unseen ? this.failed(bad, unseen) : null,
    ].filter(Boolean);
  }

  tactic([tactic, logprob, kind, , child]) {
    const place = make("span", { class: "what" }, `log p ${signed(logprob)} · `);
    if (kind === "finished") place.append("no goals left ∎");
    else place.append("leads to ", make("button", { type: "button", click: () => this.reveal(child) }, `state ${this.tree.nodes[child].id}`), this.isKnown(tactic, child) ? " (known before)" : "");
    return make("div", { class: "tactic" }, tactic, place);
  }

  isKnown(tactic, child) {
    return this.tree.nodes[child].parent !== this.selected || this.tactics[child] !== tactic;
  }

  failed(edges, unseen) {
    const one = ([tactic, logprob, kind, message]) =>
      make("div", { class: "tactic" }, tactic, make("span", { class: "what" }, `log p ${signed(logprob)} · ${kind}`), make("span", { class: "what bad" }, message));
    const rest = unseen ? make("p", { class: "note" }, `${edges.length ? "and " : ""}${plural(unseen, "tactic")}, not on this page`) : null;
    return make("details", {}, make("summary", {}, `${plural(edges.length + unseen, "failed tactic")}`), ...edges.map(one), rest);
  }
}
