"""Declarations near a printed goal: what the ``context`` form shows the model.

A goal in a training example is a text, so that the constants which the lemma index asks for have to be read
out of it. A search does the same, though it knows better: the model is shown what it was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from prover.environment import Scope
from prover.generators.base import NAME_LETTERS
from prover.generators.lemmas import OPERATORS, LemmaIndex
from prover.generators.printed import PrintedGoal, base, inner_names, printed_goal, symbols, tactic_names
from prover.lean.messages import Declaration, Goal, Hypothesis

#: Constants by how Lean prints them, where it is not by their name.
_PRINTED: dict[str, list[str]] = {}
for _constant, (_operator, _) in OPERATORS.items():
    _PRINTED.setdefault(_operator, []).append(_constant)
_PRINTED |= {">": ["LT.lt"], "≥": ["LE.le"], "∉": ["Membership.mem", "Not"], "×": ["Prod"]}
_PRINTED |= {"-": ["HSub.hSub"], "": []}
#: What is printed around its arguments, as in ``xs[i]?``.
_AROUND = {
    "GetElem.getElem": re.compile(r"[\w')]\[[^\]]*\](?![?!])"),
    "GetElem?.getElem?": re.compile(r"[\w')]\[[^\]]*\]\?"),
    "GetElem?.getElem!": re.compile(r"[\w')]\[[^\]]*\]!"),
    "Nat.cast": re.compile("↑"),
}

#: A field of what is no variable may belong to many types: beyond so many its name alone says nothing.
_NAMESAKES = 4


class ContextIndex:
    """The theorems among some declarations, found by the text of a goal: a second to build."""

    def __init__(self, declarations: Sequence[Declaration]) -> None:
        self._index = LemmaIndex(declarations)
        self._types = {theorem.name: theorem.type for theorem in self._index.theorems}
        self._names = frozenset(d.name for d in declarations).union(*(d.constants for d in declarations))
        self._called: dict[str, list[str]] = {}
        for name in sorted(self._names):
            self._called.setdefault(base(name), []).append(name)

    def __len__(self) -> int:
        return len(self._index)

    def near(
        self,
        goal_text: str,
        modules: frozenset[str] | None,
        limit: int,
        own: Sequence[Declaration] = (),
    ) -> list[str]:
        """Return the theorems nearest to a goal as ``name : type``, the nearest first.

        Args:
            goal_text: the goal as Lean prints it.
            modules: only theorems of these; None: all.
            own: declarations beside those of the index, which may be used as well.
        """
        types = self._types | {d.name: d.type for d in own} if own else self._types
        found = self._index.near(self._read(goal_text, own), Scope(modules, tuple(own)), limit)
        return [f"{lemma.name} : {types[lemma.name]}" for lemma in found]

    def _read(self, text: str, own: Sequence[Declaration]) -> Goal:
        """Make a goal of a text, with the constants that it seems to mention."""
        printed = printed_goal(text)
        known = self._names.union(d.name for d in own) if own else self._names
        constants = frozenset(self._constants(printed, known))
        hypotheses = tuple(Hypothesis(name, t, None, False, None, True) for name, t in printed.hypotheses)
        return Goal(hypotheses, printed.target, text, "", "", (), tuple(sorted(constants)))

    def _constants(self, goal: PrintedGoal, known: Collection[str]) -> Iterator[str]:
        heads = {name: _head(type_) for name, type_ in goal.hypotheses}
        texts = [goal.target, *(type_ for _, type_ in goal.hypotheses)]
        text = "\n".join(texts)
        whole = set(tactic_names(text))
        fields = {f"{heads[first]}.{rest}" for first, _, rest in _parted(whole) if first in heads}
        named = {name for name in (whole - heads.keys()) | fields if name in known}
        yield from named
        shown = set(symbols(text, goal.names | inner_names(text)))
        for symbol in shown:
            yield from _PRINTED.get(symbol, ())
        yield from (constant for constant, form in _AROUND.items() if form.search(text))
        yield from self._fields(shown - {base(name) for name in named}, named | set(heads.values()))

    def _fields(self, words: Collection[str], around: Collection[str]) -> Iterator[str]:
        """What is printed as a field of a term: the functions of that name, of the types around it first."""
        spaces = {name.rpartition(".")[0] for name in around} | set(around)
        for word in words:
            namesakes = self._called.get(word, []) if len(word) > 1 else []
            near = [name for name in namesakes if name.rpartition(".")[0] in spaces]
            yield from near or (namesakes if len(namesakes) <= _NAMESAKES else ())


def _parted(names: Collection[str]) -> Iterator[tuple[str, str, str]]:
    return (name.partition(".") for name in names if "." in name)


def _head(type_: str) -> str:
    """The constant that a printed type begins with: ``List`` of ``List Nat``."""
    names = tactic_names(type_) if type_[:1].isalpha() or type_[:1] in NAME_LETTERS else []
    return names[0] if names else ""
