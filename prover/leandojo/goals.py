"""From goals as LeanDojo returns them, which is text, to ours."""

from __future__ import annotations

import re
from collections.abc import Collection

from prover.generators.printed import printed_goal, relation, symbols, tactic_names
from prover.lean.messages import Goal, Hypothesis

_CASE = re.compile(r"^case (\S+)\n")
#: Types whose terms a portfolio takes cases or inductions on, by how they are printed.
_INDUCTIVE = frozenset(("Nat", "Int", "Bool", "List", "Option", "Array", "Fin", "Prod", "Sum", "And", "Or"))
#: Heads of propositions that have another name in print.
_HEADS = {"=": "Eq", "∧": "And", "∨": "Or", "↔": "Iff", "∃": "Exists", "¬": "Not", "<": "LT.lt", "≤": "LE.le"}
_PRINTED = {"∧": "And", "∨": "Or", "ℕ": "Nat", "ℤ": "Int"}


def goal_texts(state: str) -> tuple[str, ...]:
    """The goals of a printed tactic state, the main goal first."""
    return tuple(part for part in state.split("\n\n") if "⊢" in part)


def goals_of(text: str, known: Collection[str] = ()) -> tuple[Goal, ...]:
    """Read a printed tactic state; what print does not show is left open.

    Args:
        known: the library's constants; those whose names stand in a goal are taken to be mentioned by it.
    """
    return tuple(_goal(part, frozenset(known)) for part in goal_texts(text))


def _goal(text: str, known: frozenset[str]) -> Goal:
    tag = _CASE.match(text)
    printed = printed_goal(text)
    types = (printed.target, *(type_ for _, type_ in printed.hypotheses))
    mentioned = {name for type_ in types for name in tactic_names(type_)} & known
    return Goal(
        hypotheses=tuple(_hypothesis(name, type_) for name, type_ in printed.hypotheses),
        target=printed.target,
        pretty=text,
        tag=tag[1] if tag else "",
        head=_head(printed.target),
        definitions=(),
        constants=tuple(sorted(mentioned)),
    )


def _hypothesis(name: str, type_: str) -> Hypothesis:
    type_, _, value = type_.partition(" := ")
    head = relation(type_).head
    head = _PRINTED.get(head, head)
    return Hypothesis(
        name=name,
        type=type_,
        value=value or None,
        is_prop=_is_proposition(type_),
        inductive=head if head in _INDUCTIVE else None,
        accessible="✝" not in name,
    )


def _is_proposition(type_: str) -> bool:
    """Whether a type looks like a proposition: it has a relation at its head, and is no function type."""
    found = relation(type_)
    if found.head in ("→", "∀"):
        return _is_proposition(found.right) if found.head == "→" else True
    return not (found.head[:1].isalpha() or found.head in ("", "×", "⊕"))


def _head(target: str) -> str:
    found = relation(target).head
    return "∀" if found == "→" else _HEADS.get(found, next(iter(symbols(found)), ""))
