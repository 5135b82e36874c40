"""The report as one HTML page that needs nothing else: styles, script, plots and search trees are inside.

What comes from a run reaches the page in two ways, both harmless: as text that the template engine escapes,
and as base64 of compressed JSON, which the script only ever shows as text. A content security policy forbids
the browser every request, and every script but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from eval.compare import Comparison, compare
from eval.records import Record, Status
from eval.report import plots, trees, words
from eval.report.figures import GROUP_KEYS, Figures, figures, groups_of
from eval.runs import Run
from eval.store import Key, Tree, read_trees
from prover.errors import InputError

if TYPE_CHECKING:
    from jinja2 import Environment

#: Characters that all packed trees of a page may take.
TREES_BUDGET = 2_400_000
#: Of a record, what a theorem's page shows.
ATTEMPT_FIELDS = (
    "seed", "status", "ended", "error_kind", "message", "expansions", "tactics", "errors", "crashes",
    "refused", "duplicates", "lean_seconds", "model_seconds", "open_seconds", "check_seconds",
    "wall_seconds", "search_seconds", "tries", "proof",
)  # fmt: skip
_SOURCE = re.compile(r"^(?:[\w@\[\], ]* )?(?:theorem|lemma|example)\b", re.MULTILINE)
_SORRY = re.compile(r"(:=\s*)?(by\s+)?sorry\s*\Z")


@dataclass(frozen=True, slots=True)
class Cell:
    """What a run made of a problem: the attempt that proved it first, else the first one."""

    record: Record
    proved: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Row:
    """A problem, with a cell for each run; None where a run has not come to it."""

    benchmark: str
    problem: str
    tags: tuple[str, ...]
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """A theorem as it stands in Lean, and who found this proof of it."""

    problem: str
    text: str
    found_by: str


def render(runs: Sequence[Run]) -> str:
    """Return the page.

    Raises:
        InputError: a run's trees cannot be read.
    """
    found = [figures(run) for run in runs]
    rows = _rows(runs)
    details = _Details(runs, rows)
    script, style = (_asset(name) for name in ("page.js", "page.css"))
    page = _environment().get_template("page.html.j2")
    return page.render(
        title=_title(runs),
        figures=found,
        groups=_groups(runs),
        plots=_plots(found),
        comparisons=_comparisons(runs),
        rows=rows,
        proofs=details.proofs,
        packed=details.packed,
        data=_data(rows, found),
        script=script,
        style=style,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _asset(name: str) -> str:
    return resources.files("eval.report").joinpath("page", name).read_text(encoding="utf-8")


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("eval.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        format.__name__: format
        for format in (
            words.percent, words.number, words.interval, words.signed_interval, words.points, words.out_of,
            words.spread, words.p_value, words.seconds,
        )
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals.update(STATUS=words.STATUS, SIGN=words.SIGN, SVG=plots, tag_text=_tag_text)
    return environment


def _title(runs: Sequence[Run]) -> str:
    return ", ".join(dict.fromkeys(f"{run.plan.benchmark} · {run.plan.split}" for run in runs))


def _groups(runs: Sequence[Run]) -> dict[str, Any]:
    """The tables by category, difficulty and area, as far as the problems have such tags."""
    return {key: groups for key in GROUP_KEYS if len(groups := groups_of(runs, key)) > 1}


def _plots(found: Sequence[Figures]) -> list[plots.Cactus]:
    seconds = max(f.run.plan.seconds for f in found)
    expansions = max(f.run.plan.expansions for f in found)
    return [
        plots.cactus("Solved within a time", "seconds of search", [f.by_seconds for f in found], seconds),
        plots.cactus("Solved within expansions", "expansions", [f.by_expansions for f in found], expansions),
    ]


def _comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every later run against the first, where the two can be compared."""
    return [found for run in runs[1:] if (found := _comparison_or_none(runs[0], run))]


def _comparison_or_none(before: Run, after: Run) -> Comparison | None:
    try:
        return compare(before, after)
    except InputError:
        return None


def _rows(runs: Sequence[Run]) -> list[Row]:
    keys = dict.fromkeys((run.plan.benchmark, problem) for run in runs for problem in run.by_problem)
    return [_row(runs, benchmark, problem) for benchmark, problem in keys]


def _row(runs: Sequence[Run], benchmark: str, problem: str) -> Row:
    attempts = [run.by_problem.get(problem, ()) if run.plan.benchmark == benchmark else () for run in runs]
    tags = next(records[0].tags for records in attempts if records)
    return Row(benchmark, problem, tags, tuple(_cell(records) for records in attempts))


def _cell(records: Sequence[Record]) -> Cell | None:
    if not records:
        return None
    successes = [record for record in records if record.status is Status.PROVED]
    return Cell((successes or records)[0], len(successes), len(records))


def _tag_text(tags: Sequence[str]) -> str:
    """The values of the tags that say what a problem is about, and whether it is known to be odd."""
    values = (tag.partition(":")[2] for tag in tags if tag.startswith((*GROUP_KEYS, "known:")))
    return " · ".join(values)


def _data(rows: Sequence[Row], found: Sequence[Figures]) -> dict[str, Any]:
    """What the script has to know at once; the rest it unpacks when it is asked for."""
    return {
        "runs": [f.run.name for f in found],
        "problems": [row.problem for row in rows],
        "curves": [[_thin(f.by_seconds), _thin(f.by_expansions)] for f in found],
        "words": {status.value: text for status, text in words.STATUS.items()},
    }


def _thin(curve: Sequence[tuple[float, float]]) -> list[list[float]]:
    """The last point of each cost, for the read-out."""
    return [[cost, round(number, 2)] for cost, number in {round(c, 3): n for c, n in curve}.items()]


class _Details:
    """What is shown of each problem on demand: its statement, attempts, proofs and search trees."""

    def __init__(self, runs: Sequence[Run], rows: Sequence[Row]) -> None:
        self.proofs: list[Proof] = []
        #: For each row, for each run: a packed detail, or "" where the run has not come to the problem.
        self.packed: list[list[str]] = [["" for _ in runs] for _ in rows]
        self._levels: dict[tuple[int, int], list[str]] = {}
        stored = [read_trees(run.folder) for run in runs]
        for place, row in enumerate(rows):
            self._add(place, row, runs, stored)
        self._fit()

    def _add(self, place: int, row: Row, runs: Sequence[Run], stored: Sequence[Mapping[Key, Tree]]) -> None:
        found: dict[str, list[str]] = {}
        for index, (run, cell) in enumerate(zip(runs, row.cells, strict=True)):
            if cell is None:
                continue
            tree = stored[index].get(cell.record.key)
            attempts = run.by_problem[row.problem]
            self._levels[place, index] = _levels(tree, cell.record, attempts)
            for record in attempts:
                if record.proof is not None:
                    text = as_lean(_statement(tree), record.problem, record.proof)
                    found.setdefault(text, []).append(_finder(run, record))
        self.proofs += [Proof(row.problem, text, ", ".join(who)) for text, who in found.items()]

    def _fit(self) -> None:
        """Take of each tree the richest form for which the page stays small."""
        sizes = [[len(text) for text in levels] for levels in self._levels.values()]
        chosen = trees.choose(sizes, TREES_BUDGET)
        for ((place, index), levels), level in zip(self._levels.items(), chosen, strict=True):
            self.packed[place][index] = levels[level]


def _finder(run: Run, record: Record) -> str:
    return run.name if len(run.plan.seeds) == 1 else f"{run.name} (seed {record.seed})"


def _levels(tree: Tree | None, shown: Record, attempts: Sequence[Record]) -> list[str]:
    """A problem's detail with its tree, packed at each level of pruning."""
    body = {
        "statement": _statement(tree),
        "seed": shown.seed,
        "attempts": [_attempt(record) for record in attempts],
    }
    if tree is None:
        return [trees.pack(body | {"tree": None})]
    return [trees.pack(body | {"tree": trees.prune(tree, limits)}) for limits in trees.LEVELS]


def _attempt(record: Record) -> dict[str, Any]:
    full = asdict(record)
    return {name: round(v, 3) if isinstance(v := full[name], float) else v for name in ATTEMPT_FIELDS}


def _statement(tree: Tree | None) -> str:
    """The statement that the tree carries, else its first goals, else nothing."""
    if tree is None:
        return ""
    return str(tree["statement"]) or "\n\n".join(tree["nodes"][0]["goals"])


def as_lean(statement: str, problem: str, proof: Sequence[str]) -> str:
    """Return a theorem with its proof in the place of its ``sorry``.

    Where all that is known of it are its goals, they are a comment above the proof.
    """
    if _SOURCE.search(statement):
        head = f"{_SORRY.sub('', statement).rstrip()} := by"
    else:
        head = "\n".join(f"-- {line}" for line in [problem, *statement.splitlines()])
    return "\n".join([head, *(f"  {line}" for line in proof)])
