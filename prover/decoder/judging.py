"""A decoder as the judge of what any generator proposes: it reads each tactic and says whether it would do.

A tactic may be likely and still fail, and be known to: what a decoder was taught of failures
(``prover/training/lessons.py``) weighs on the candidates of simple generators too. A candidate's probability
is multiplied by a power of the verdict's: a product of experts (Hinton 2002, "Training Products of Experts by
Minimizing Contrastive Divergence").
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from prover.generators.base import (
    Candidate,
    Learner,
    Observer,
    Query,
    Step,
    TacticGenerator,
    Tried,
    batch_size,
    content_hash,
    memory_hash,
)
from prover.generators.mixture import log_sum_exp

#: Candidates of a state that are judged: the likely ones. The others rarely have their turn.
JUDGED = 32


@runtime_checkable
class Judge(Protocol):
    """Says of tactics whether they would do."""

    @property
    def judges(self) -> bool:
        """Whether it has learned to."""
        ...

    async def judge(
        self, queries: Sequence[Query], tactics: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        """Return the log-probability that each of a query's tactics would do; None: unknown."""
        ...


class Judged:
    """A generator whose candidates are judged before the search sees them; it learns if that one does."""

    def __init__(self, generator: TacticGenerator, judge: Judge, weight: float) -> None:
        """Make one.

        Args:
            weight: the power of a verdict's probability, above 0.
        """
        self._generator = generator
        self._judge = judge
        self._weight = weight

    @property
    def name(self) -> str:
        return self._generator.name

    @property
    def batch(self) -> int:
        return batch_size(self._generator)

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the generator, whose parts include the judge, and the weight."""
        text = f"judged\0{content_hash(self._generator)}\0{self._weight}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def memory_hash(self) -> str:
        return memory_hash(self._generator)

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        if isinstance(self._generator, Learner):
            self._generator.learn(proof, position)

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        if isinstance(self._generator, Observer):
            self._generator.observe(query, tried)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        proposed = await self._generator.generate(queries)
        answers = [
            [c for c in answer if c.tactic not in query.tried]
            for query, answer in zip(queries, proposed, strict=True)
        ]
        likely = [[c.tactic for c in answer[:JUDGED]] for answer in answers]
        verdicts = await self._judge.judge(queries, likely)
        return [judged(*pair, self._weight) for pair in zip(answers, verdicts, strict=True)]


def judged(
    candidates: Sequence[Candidate], verdicts: Sequence[float | None], weight: float
) -> list[Candidate]:
    """Weigh candidates by their verdicts; the best first, their probabilities adding up to what they did.

    Args:
        verdicts: of the first of the candidates. One without is taken to have the mean of the others'.
    """
    if not candidates:
        return []
    verdicts = [*verdicts, *[None] * (len(candidates) - len(verdicts))]
    known = [verdict for verdict in verdicts if verdict is not None]
    mean = math.fsum(known) / max(1, len(known))
    scores = [
        c.logprob + weight * (mean if v is None else v) for c, v in zip(candidates, verdicts, strict=True)
    ]
    shift = log_sum_exp([c.logprob for c in candidates]) - log_sum_exp(scores)
    found = [
        Candidate(c.tactic, min(0.0, score + shift)) for c, score in zip(candidates, scores, strict=True)
    ]
    return sorted(found, key=lambda candidate: -candidate.logprob)
