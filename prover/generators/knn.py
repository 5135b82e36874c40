"""The second baseline: nearest neighbours, both among remembered goals and among the library's lemmas.

What worked on a similar goal is proposed in the present goal's names, with the library's lemmas near the
goal in place of those that it may not use; beside it the lemmas themselves, as closers and rewrite rules.
After Tactician (Blaauwbroek, Urban & Geuvers 2020), with premises selected by BM25.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

from prover.generators.adaptation import adapt, transpose, transposition
from prover.generators.base import Candidate, Query, Step, well_formed
from prover.generators.experience import Experience, Neighbour
from prover.generators.lemma_tactics import Near, propose
from prover.generators.lemmas import Lemma, LemmaIndex
from prover.generators.portfolio import Proposal, rank
from prover.generators.printed import PrintedGoal, beginnings, printed_goal, rename, tactic_names
from prover.premises import PremiseCorpus

#: Candidates a state, lemmas looked at, memories looked at.
WIDTH, LEMMAS, NEIGHBOURS = 40, 200, 50
#: What a memory of the very same goal weighs, on the portfolio's scale.
MEMORY_WEIGHT = 12.0
#: Similarities count by this power, so that far neighbours hardly count.
SHARPNESS = 2.0

#: The modules that decide what it proposes.
_SOURCES = ("adaptation", "bm25", "experience", "knn", "lemma_tactics", "lemmas", "printed")


@cache
def _source_hash() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in _SOURCES)).hexdigest()


class KNN:
    """Nearest neighbours as a tactic generator: deterministic, blind to history, able to learn."""

    name = "knn"

    def __init__(self, corpus: PremiseCorpus, experience: Experience | None = None) -> None:
        self.corpus = corpus
        self.experience = experience if experience is not None else Experience()
        self.lemmas = LemmaIndex(corpus.premises)

    @cached_property
    def _homes(self) -> Mapping[str, str]:
        """The module of each premise."""
        return {premise.name: premise.module for premise in self.corpus.premises}

    @property
    def content_hash(self) -> str:
        """16 hex digits: of its source and the premises; what was learned is not in it."""
        premises = (self.corpus.lean, len(self.corpus.premises))
        return hashlib.sha256(repr((_source_hash(), premises)).encode()).hexdigest()[:16]

    @property
    def memory_hash(self) -> str:
        """16 hex digits of what it has learned; "" when nothing."""
        return self.experience.content_hash

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Remember a proof."""
        self.experience.learn(proof, position)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [self.answer(query) for query in queries]

    def answer(self, query: Query) -> list[Candidate]:
        """The candidates for one query, the best first."""
        near = self.near(query)
        return rank([*self.remembered(query, near.lemmas), *propose(near)], WIDTH)

    def near(self, query: Query) -> Near:
        """The goal with the lemmas and definitions that matter to it."""
        goal = query.state.goals[0]
        lemmas = self.lemmas.near(goal, query.scope, LEMMAS)
        equations = self.lemmas.equations(goal, query.scope)
        return Near(goal, lemmas, self.lemmas.unfoldable(goal), equations)

    # --- memories -----------------------------------------------------------------------------------

    def remembered(self, query: Query, lemmas: Sequence[Lemma]) -> Iterator[Proposal]:
        """What was done on the goals most like this one, made to fit."""
        text = query.state.goals[0].pretty
        weights: dict[str, float] = {}
        for neighbour in self.experience.nearest(text, query.scope.position, NEIGHBOURS):
            for tactic in self._fitted(neighbour, printed_goal(text), query, lemmas):
                weights[tactic] = weights.get(tactic, 0.0) + neighbour.similarity**SHARPNESS
        yield from ((tactic, MEMORY_WEIGHT * min(1.0, weight)) for tactic, weight in weights.items())

    def _fitted(
        self, neighbour: Neighbour, here: PrintedGoal, query: Query, lemmas: Sequence[Lemma]
    ) -> Iterator[str]:
        """The neighbour's tactic in the present goal's names, with lemmas that may be used here."""
        there = printed_goal(neighbour.memory.goal)
        tactic = adapt(neighbour.memory.tactic, there, here)
        if tactic is None:
            return
        moves = transposition(there, here)
        renamed = {name: transpose(name, moves) for name in self._premises_of(tactic)}
        renamed = {name: new for name, new in renamed.items() if new != name and self._usable(new, query)}
        yield from self._accessible(rename(tactic, renamed), query, lemmas)

    def _accessible(self, tactic: str, query: Query, lemmas: Sequence[Lemma]) -> Iterator[str]:
        """The tactic; what it names out of reach is replaced by the lemma nearest to the goal."""
        missing = [name for name in self._premises_of(tactic) if not self._usable(name, query)]
        if len(missing) > min(1, len(lemmas)):
            return
        fitted = rename(tactic, {name: lemmas[0].name for name in missing})
        if well_formed(fitted) is None:
            yield fitted

    def _premises_of(self, tactic: str) -> list[str]:
        """The library's theorems and definitions that a tactic names, also where a field follows."""
        found = (next((b for b in beginnings(n) if b in self._homes), "") for n in tactic_names(tactic))
        return [name for name in dict.fromkeys(found) if name]

    def _usable(self, name: str, query: Query) -> bool:
        modules = query.scope.modules
        return name in self._homes and (modules is None or self._homes[name] in modules)
