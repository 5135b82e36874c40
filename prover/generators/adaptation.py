"""Making a remembered tactic fit another goal: its names are replaced by those that play their part there.

Hypotheses correspond when their types are alike. Constants correspond when the two goals differ in one
namespace alone: what was done for ``Int8`` is then done for ``Int16``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from prover.generators.printed import PrintedGoal, rename, symbols, tactic_names

#: How like each other two types must be, to take one's hypothesis for the other's.
_ALIKE = 0.3


def adapt(tactic: str, there: PrintedGoal, here: PrintedGoal) -> str | None:
    """Return the tactic in the present goal's names; None when a name has no counterpart."""
    there = moved(there, transposition(there, here))
    used = [name for name in dict.fromkeys(_heads(tactic)) if name in there.names]
    names: dict[str, str] = {}
    for name in used:
        found = _counterpart(name, there, here, names.values())
        if found is None:
            return None
        names[name] = found
    return rename(tactic, names)


def _heads(tactic: str) -> Iterator[str]:
    for name in tactic_names(tactic):
        yield name
        yield name.partition(".")[0]


def _counterpart(name: str, there: PrintedGoal, here: PrintedGoal, taken: Collection[str]) -> str | None:
    """The free hypothesis with the likest type; of equals, one of the same name, else at the same place."""
    place, wanted = _newest(name, there)
    ranked: list[tuple[float, bool, int, str]] = []
    for age, (candidate, type_) in enumerate(reversed(here.hypotheses)):
        if candidate not in taken and "✝" not in candidate:
            likeness = alike(wanted, there.names, type_, here.names)
            ranked.append((likeness, candidate == name, -abs(age - place), candidate))
    best = max(ranked, default=(0.0, False, 0, ""))
    return best[-1] if best[0] >= _ALIKE else None


def _newest(name: str, goal: PrintedGoal) -> tuple[int, str]:
    """Age and type of the hypothesis that a name means: of several, the newest."""
    found = enumerate(reversed(goal.hypotheses))
    return next((age, type_) for age, (known, type_) in found if known == name)


def alike(left: str, left_names: Collection[str], right: str, right_names: Collection[str]) -> float:
    """How alike two types are, names aside: from 0 to 1."""
    ours, theirs = _type_symbols(left, frozenset(left_names)), _type_symbols(right, frozenset(right_names))
    if not ours and not theirs:
        return 0.9  # bare variables on both sides, as in ``x : α``
    return 2.0 * (ours & theirs).total() / (ours.total() + theirs.total())


@lru_cache(maxsize=10_000)
def _type_symbols(type_: str, names: frozenset[str]) -> Counter[str]:
    return Counter(symbols(type_, names) + [word for word in type_.split() if word in ("Prop", "Type", "→")])


# --- namespaces -------------------------------------------------------------------------------------


def namespaces(goal: PrintedGoal) -> Counter[str]:
    """The namespaces and types a goal's text mentions, with how often."""
    text = " ".join([*(type_ for _, type_ in goal.hypotheses), goal.target])
    found: Counter[str] = Counter()
    for name in tactic_names(text):
        first = name.partition(".")[0]
        if first[:1].isupper() and first not in goal.names:
            space, _, last = name.rpartition(".")
            found[name if last[:1].isupper() else space] += 1
    return found


def transposition(there: PrintedGoal, here: PrintedGoal) -> Mapping[str, str]:
    """What to replace in names when the goals differ in one namespace alone; empty when they differ more."""
    ours, theirs = namespaces(here), namespaces(there)
    gone, new = theirs.keys() - ours.keys(), ours.keys() - theirs.keys()
    return {next(iter(gone)): next(iter(new))} if len(gone) == len(new) == 1 else {}


def moved(goal: PrintedGoal, moves: Mapping[str, str]) -> PrintedGoal:
    """The same goal in another namespace."""
    if not moves:
        return goal
    names = {name: transpose(name, moves) for _, type_ in goal.hypotheses for name in tactic_names(type_)}
    hypotheses = tuple((name, rename(type_, names)) for name, type_ in goal.hypotheses)
    return PrintedGoal(hypotheses, rename(goal.target, names))


def transpose(name: str, moves: Mapping[str, str]) -> str:
    """The name in its new namespace.

    >>> transpose("Int8.toInt_inj", {"Int8": "Int16"})
    'Int16.toInt_inj'
    """
    for old, new in moves.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
        name = name.replace(f".{old}.", f".{new}.")
    return name
