"""Keeps a decoder to names that are there: a tactic that names no declaration in scope is never drawn.

A model of some million parameters makes names up: of its tactics on held-out states, a third to a half name a
declaration that does not exist. What a goal's proof may use is known, and so a name under way that is the
beginning of none can be given up at once: lexically constrained decoding, as with a trie of entity names
(De Cao et al. 2021, "Autoregressive Entity Retrieval", section 3.2).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

from prover.environment import MOST_OWN, Scope
from prover.generators.base import NAME_PART, Query
from prover.premises import PremiseCorpus

#: An identifier, also one that is not at its end yet; a field of something in brackets is none.
_NAME = re.compile(rf"(?<![\w.'!?«»)\]⟩]){NAME_PART}(?:\.{NAME_PART})*\.?")
#: What stands before a name that must be a lemma or a local one, whatever it looks like.
_TERM = re.compile(r"(?:^|[ (;>])(?:exact |apply |rw \[|simp(?:_all|a)?(?: only)? \[)$|← ?$|, $")
#: Words that bring in names of their own: behind them, only names with a dot are known to be wrong.
_BINDERS = re.compile(
    r"\b(?:intros?|rintro|fun|obtain|rcases|have|let|suffices|cases|induction|match|using)\b|[λ∃∀]"
)
#: Words that may begin a term.
_WORDS = frozenset(
    ("fun", "by", "if", "let", "have", "show", "from", "match", "do", "nofun", "rfl", "this", "trivial", "id")
)
#: Scopes whose names are kept: the theorems of a module are alike, those of a file the same.
_SCOPES = 8


class Names:
    """The names that a tactic may use, as a guide to the model that draws it."""

    def __init__(self, known: Sequence[str], theorems: frozenset[str], local: frozenset[str]) -> None:
        """Take names.

        Args:
            known: declarations, sorted.
            theorems: those that are theorems, whose statements may have fields (``h.mp``).
            local: hypotheses and variables.
        """
        self._known = known
        self._theorems = theorems
        self._local = local

    def allows(self, before: str, added: str) -> bool:
        """Say whether a tactic may go on so; with nothing added, whether it may end.

        Args:
            before: a text of which each beginning was allowed.
        """
        start = _growing(before)
        text = before + added
        for found in _NAME.finditer(text, start):
            grows = bool(added) and found.end() == len(text)
            if not self._is_known(found.group(), text[: found.start()], grows):
                return False
        return True

    def _is_known(self, name: str, before: str, grows: bool) -> bool:
        first, dot, _ = name.partition(".")
        if first in self._local:
            return True
        if not (dot and first[0].isupper()) and not self._must_be_a_term(before):
            return True
        if name in _WORDS or self._has(name) or self._is_field(name):
            return True
        return grows and (self._begins(name) or any(word.startswith(name) for word in _WORDS | self._local))

    def _must_be_a_term(self, before: str) -> bool:
        return _TERM.search(before) is not None and _BINDERS.search(before) is None

    def _has(self, name: str) -> bool:
        place = bisect_left(self._known, name)
        return place < len(self._known) and self._known[place] == name

    def _begins(self, text: str) -> bool:
        place = bisect_left(self._known, text)
        return place < len(self._known) and self._known[place].startswith(text)

    def _is_field(self, name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:end]) in self._theorems for end in range(1, len(parts)))


@lru_cache(4096)
def _growing(text: str) -> int:
    """Where the name begins in which a text ends; its length where it ends in none."""
    start = len(text)
    for found in _NAME.finditer(text):
        if found.end() == len(text):
            start = found.start()
    return start


class NamesInScope:
    """Has the guide of each query: what its scope lists of a library and of its own file."""

    def __init__(self, corpus: PremiseCorpus) -> None:
        """Take a library."""
        self._corpus = corpus
        self._of = lru_cache(_SCOPES)(self._listed)

    def __call__(self, query: Query) -> Names | None:
        """The names of a query; None where not all that could be named is known."""
        scope = query.scope
        if scope.modules is None or not scope.modules <= self._corpus.order.keys():
            return None
        if len(scope.own) >= MOST_OWN:
            return None
        known, theorems = self._of(Scope(scope.modules, scope.own))
        local = {hypothesis.name for goal in query.state.goals for hypothesis in goal.hypotheses}
        return Names(known, theorems, frozenset(local))

    def _listed(self, scope: Scope) -> tuple[Sequence[str], frozenset[str]]:
        assert scope.modules is not None
        there = [it for it in self._corpus.premises if it.module in scope.modules]
        there += scope.own
        named: Iterable[str] = (name for it in there for name in (it.name, *it.constants))
        return sorted(set(named)), frozenset(it.name for it in there if it.kind == "theorem")
