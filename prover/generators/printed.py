"""What can be read out of terms and goals as Lean prints them, without Lean.

The text is all that is left of a goal in a record, and all that is known of a library theorem's shape. The
reading is shallow: symbols in order, the relation at the head, binders; it never fails, and may be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from prover.generators.base import NAME_LETTERS, NAME_PART

_NAME = rf"{NAME_PART}(?:\.{NAME_PART})*"
_SYMBOL = re.compile(
    rf"""
      (?P<word>   {_NAME} )
    | (?P<field>  \.{NAME_PART} )
    | (?P<number> \d+ )
    | (?P<other>  [^\s\d(){{}}⟨⟩\[\],.{NAME_LETTERS}]+ | \[\] | ⋯ )
    """,
    re.VERBOSE,
)
_WORDS = frozenset(("fun", "if", "then", "else", "match", "with", "let", "have", "do", "by", "show", "from"))
_SILENT = frozenset((":", ":=", "=>", "↦", "·", "|", "✝", "⋯", "?", "@", "⦃", "⦄", "'"))
_SORTS = frozenset(("Type", "Sort", "Prop"))

_SORT = re.compile(r"(?:Type|Sort|Prop)\b")
_UNIVERSE = re.compile(r"\b(Type|Sort) (?:\(.*?\)|u\w*|v\w*|w\w*)")

_OPEN, _CLOSE = "([{⟨⦃", ")]}⟩⦄"
#: From here to the end of the term everything stands under a binder.
_BINDER = re.compile(r"[∀∃λ]|∃!|(?:fun|if|match|let|have|do)\b")

#: Relations and connectives by how loosely they bind, the loosest first.
_LEVELS = (
    ("↔",),
    ("→",),
    ("∨",),
    ("∧",),
    ("=", "≠", "<", "≤", ">", "≥", "∣", "∈", "∉", "⊆", "≍", "≈", "~", "<+", "<+~", "<+:", "<:+", "<:+:"),
)

#: Ways to print the same relation: a lemma with one head may prove a goal with another of its family.
FAMILIES = {"≠": "¬", "∉": "¬", "False": "¬", ">": "<", "≥": "≤"}


def one_line(text: str) -> str:
    """The same text with every run of white space as one blank."""
    return " ".join(text.split())


def base(name: str) -> str:
    """The last component of a name.

    >>> base("List.map_map")
    'map_map'
    """
    return name.rpartition(".")[2]


def symbols(text: str, bound: Collection[str] = ()) -> list[str]:
    """The constants and operators of a term in order, without the names it binds and without namespaces.

    A field of a bound name counts as its own symbol, as Lean prints ``List.length xs`` as ``xs.length``.

    >>> symbols("xs.length + List.foldl f 0 xs = 12", {"xs", "f"})
    ['length', '+', 'foldl', '0', '=', '#']
    """
    found: list[str] = []
    for match in _SYMBOL.finditer(text):
        found.extend(_read(match.lastgroup or "", match.group(), bound))
    return found


def _read(kind: str, text: str, bound: Collection[str]) -> Iterator[str]:
    if kind == "number":
        yield text if text in ("0", "1", "2") else "#"
    elif kind == "field":
        yield text[1:]
    elif kind == "word":
        yield from _of_name(text, bound)
    elif text not in _SILENT:
        yield text


def _of_name(name: str, bound: Collection[str]) -> Iterator[str]:
    first, *fields = name.split(".")
    if first in bound:
        yield from (field for field in fields if not field.isdigit())
    elif name not in _WORDS and name not in _SORTS:
        yield base(name)


# --- relations ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relation:
    """A proposition as its head and what stands on both sides of it; ``right`` is "" for an application."""

    #: An operator, ``∀``, ``∃``, or the last component of the constant that is applied.
    head: str
    left: str
    right: str


def relation(text: str) -> Relation:
    """Take a proposition apart at its head.

    >>> relation("a ∧ b = c ↔ d")
    Relation(head='↔', left='a ∧ b = c', right='d')
    >>> relation("List.Nodup xs").head
    'Nodup'
    """
    text = unwrap(text)
    places = list(_operators(text))
    for level in _LEVELS[:-1]:
        for start, operator in places:
            if operator in level:
                return _cut_at(text, start, operator)
    if text.startswith(("¬", "∀", "∃")):
        return Relation(text[0], text[1:].strip(), "")
    for start, operator in places:
        if operator in _LEVELS[-1]:
            return _cut_at(text, start, operator)
    return Relation(_applied(text), text, "")


def _cut_at(text: str, start: int, operator: str) -> Relation:
    return Relation(operator, text[:start].strip(), text[start + len(operator) :].strip())


def _applied(text: str) -> str:
    """The constant at the head of an application; of ``x.f y`` it is ``f``."""
    match = re.match(rf"@?({_NAME})", text)
    field = re.match(rf"[(\[].*[)\]]\.({NAME_PART})[^.()]*$", text)
    return base(match.group(1)) if match else field.group(1) if field else ""


def _operators(text: str) -> Iterator[tuple[int, str]]:
    """Operators with blanks around them, outside brackets and before any binder, with their places."""
    depth = 0
    for match in re.finditer(rf"[{re.escape(_OPEN + _CLOSE)}]|[^\s{re.escape(_OPEN + _CLOSE)}]+", text):
        word = match.group()
        if word in _OPEN or word in _CLOSE:
            depth += 1 if word in _OPEN else -1
        elif depth == 0 and match.start() > 0 and _BINDER.match(word):
            return
        elif depth == 0:
            yield match.start(), word


def unwrap(text: str) -> str:
    """The text without brackets around all of it."""
    text = one_line(text)
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closing(text: str) -> int:
    """Where the bracket closes that the text begins with; -1 if nowhere."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0:
            return index
    return -1


# --- theorems -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """What a theorem says, as far as its printed type shows it."""

    #: Of the conclusion; see :class:`Relation`. The operators of one family have one head.
    head: str
    #: The symbols on both sides of an equation or equivalence; the others have theirs on the left.
    left: tuple[str, ...]
    right: tuple[str, ...]
    #: The symbols of the premises that have no name.
    given: tuple[str, ...]
    #: Arguments that must be given: binders in round brackets and premises.
    explicit: int
    #: Propositions in front of the conclusion.
    premises: int

    @property
    def rewrites(self) -> bool:
        """It is an equation or an equivalence."""
        return self.head in ("=", "↔")

    @property
    def permutes(self) -> bool:
        """Both sides have the same symbols: as a rule to simplify with, it may never end."""
        return self.rewrites and sorted(self.left) == sorted(self.right)


@lru_cache(maxsize=100_000)
def shape(type_: str) -> Shape:
    """Read the shape of a theorem from its printed type.

    >>> shape("∀ {n m : Nat} (k : Nat), n ≤ m → n + k ≤ m + k")
    Shape(head='≤', left=('+', '≤', '+'), right=(), given=('≤',), explicit=2, premises=1)
    """
    binders, found = _telescope(type_)
    bound = {name for bracket, name in binders if bracket != "→"}
    given = [text for bracket, text in binders if bracket == "→"]
    explicit = sum(bracket in ("(", "→") for bracket, _ in binders)
    return _shape(found, bound, given, explicit)


def leading_names(text: str) -> list[str]:
    """A name for each thing that can be introduced: ``_`` for what has none, ``→`` for a premise.

    >>> leading_names("∀ {α : Type u} [BEq α] (x y : α), x = y → y = x")
    ['α', '_', 'x', 'y', '→']
    """
    return [bracket if bracket == "→" else name for bracket, name in _telescope(text)[0]]


def conclusion(text: str) -> Relation:
    """A proposition without its binders and premises.

    >>> conclusion("∀ (x y : Nat), x ≤ y → x < y + 1").head
    '<'
    """
    return _telescope(text)[1]


def _telescope(text: str) -> tuple[list[tuple[str, str]], Relation]:
    """All binders, as (bracket, name or ``_``), and premises, as (``→``, text), and the conclusion."""
    found: list[tuple[str, str]] = []
    text = one_line(text)
    while True:
        if text.startswith("∀ "):
            binders, _, text = cut_comma(text[2:])
            found.extend(_binders(binders))
        elif (conclusion := relation(text)).head == "→":
            found.append(("→", conclusion.left))
            text = conclusion.right
        else:
            return found, conclusion


def _shape(found: Relation, bound: set[str], given: list[str], explicit: int) -> Shape:
    names = bound | inner_names(" , ".join([found.left, found.right, *given]))
    left, right = tuple(symbols(found.left, names)), tuple(symbols(found.right, names))
    head = "" if found.head in bound else FAMILIES.get(found.head, found.head)
    if head not in ("=", "↔"):
        left, right = (*left, *([found.head] if found.right else []), *right), ()
    premises = tuple(symbol for text in given for symbol in symbols(text, names))
    return Shape(head, left, right, premises, explicit, len(given))


def cut_comma(text: str) -> tuple[str, str, str]:
    """Like ``str.partition`` at the first comma outside brackets."""
    depth = 0
    for index, char in enumerate(text):
        if char == "," and depth == 0:
            return text[:index], ",", text[index + 1 :].strip()
        depth += (char in _OPEN) - (char in _CLOSE)
    return text, "", ""


def _binders(text: str) -> Iterator[tuple[str, str]]:
    """The binders of ``(x y : T) {z : U} [C]``, or of ``x y`` or ``x y : T``, as (bracket, name)."""
    if not text.startswith(tuple(_OPEN)):
        yield from (("(", name) for name in text.partition(":")[0].split())
    while text.startswith(tuple(_OPEN)):
        end = _closing(text)
        names, colon, _ = text[1:end].partition(" : ")
        yield from ((text[0], name) for name in (names.split() if colon else ["_"]))
        text = text[end + 1 :].strip() if end > 0 else ""


def inner_names(text: str) -> set[str]:
    """Names that are bound somewhere inside a term: after ``fun``, ``∀``, ``∃`` and in ``(x : T)``.

    >>> sorted(inner_names("∃ x, List.map (fun y => y) x = x"))
    ['x', 'y']
    """
    spans = re.findall(r"(?:fun|λ)\s([^=↦]*)(?:=>|↦)|[∀∃]!?\s([^,]*),|[({⦃]([^:(){}⟨⟩]*?) : ", text)
    untyped = (re.sub(r":[^(){}]*", "", "".join(span)) for span in spans)
    return {name for span in untyped for name in re.findall(_NAME, span)}


# --- goals ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrintedGoal:
    """A goal read back from its text."""

    #: Name and type, the oldest first.
    hypotheses: tuple[tuple[str, str], ...]
    target: str

    @property
    def names(self) -> frozenset[str]:
        """Of the hypotheses, as printed."""
        return frozenset(name for name, _ in self.hypotheses)


@lru_cache(maxsize=10_000)
def printed_goal(text: str) -> PrintedGoal:
    """Read a goal as Lean prints it: ``a b : T`` a line, then ``⊢ target``; long lines go on indented.

    >>> printed_goal("n m : Nat\\nh : n ≤ m\\n⊢ n < m + 1").hypotheses
    (('n', 'Nat'), ('m', 'Nat'), ('h', 'n ≤ m'))
    """
    context, _, target = text.rpartition("⊢ ") if "⊢ " in text else ("", "", text)
    lines = re.split(r"\n(?=\S)", context.strip())
    return PrintedGoal(tuple(h for line in lines for h in _hypotheses(line)), one_line(target))


def as_statement(goal: str, name: str = "statement") -> str:
    """A theorem that says what a printed goal does, its proof a ``sorry``: near enough for Lean to read it.

    >>> as_statement("α : Type u_1\\nx✝ y : α\\ninst✝ : BEq α\\n⊢ x✝ = y")
    'theorem statement {α : Type _} (x_1 : α) (y : α) [BEq α] : x_1 = y := by sorry'
    """
    printed = printed_goal(goal)
    binders = "".join(f" {_binder(name, type_)}" for name, type_ in printed.hypotheses)
    text = f"theorem {name}{binders} : {printed.target} := by sorry"
    return _UNIVERSE.sub(r"\1 _", text).replace("✝", "_1")


def _binder(name: str, type_: str) -> str:
    type_ = type_.partition(" := ")[0]
    if name.startswith("inst"):
        return f"[{type_}]"
    return f"{{{name} : {type_}}}" if _SORT.match(type_) else f"({name} : {type_})"


def _hypotheses(line: str) -> Iterator[tuple[str, str]]:
    names, colon, type_ = one_line(line).partition(" : ")
    if colon and not names.startswith("case "):
        for name in names.split():
            yield name, type_.partition(" := ")[0]


def tactic_names(tactic: str) -> list[str]:
    """The names of a tactic in order, keywords among them.

    >>> tactic_names("rw [← Nat.add_comm, h.symm]")
    ['rw', 'Nat.add_comm', 'h.symm']
    """
    return [match.group() for match in _WHOLE_NAME.finditer(tactic)]


def rename(tactic: str, names: dict[str, str]) -> str:
    """Replace the names of a tactic: whole ones, or else the longest beginning that has a replacement.

    >>> rename("rw [h.symm, g] at h'", {"h": "k", "g": "h"})
    "rw [k.symm, h] at h'"
    """
    return _WHOLE_NAME.sub(lambda match: _renamed(match.group(), names), tactic)


_WHOLE_NAME = re.compile(rf"(?<![.{NAME_LETTERS}0-9'!?])({_NAME})")


def _renamed(name: str, names: dict[str, str]) -> str:
    beginning = next((b for b in beginnings(name) if b in names), "")
    return names[beginning] + name[len(beginning) :] if beginning else name


def beginnings(name: str) -> Iterator[str]:
    """A name and what it is a field of, the longest first.

    >>> list(beginnings("Nat.le.trans"))
    ['Nat.le.trans', 'Nat.le', 'Nat']
    """
    yield name
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
