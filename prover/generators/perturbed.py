"""Another search for another seed, also from a generator that knows no chance.

Gumbel noise on log-probabilities, the best first: this is sampling without replacement (Kool, van Hoof
and Welling 2019, "Stochastic beams and where to find them", section 3): the same tactics in another order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from prover.generators.base import (
    Candidate,
    Observer,
    Query,
    TacticGenerator,
    Tried,
    batch_size,
    stage_of,
    stages_of,
)


class Perturbed:
    """A generator whose order depends on the seed; seed 0 leaves it as it is."""

    def __init__(self, generator: TacticGenerator) -> None:
        self._generator = generator
        self.name = generator.name
        self.batch = batch_size(generator)

    @property
    def stages(self) -> int:
        return stages_of(self._generator)

    async def stage(self, number: int) -> TacticGenerator:
        """That stage, perturbed; of a generator without stages, itself."""
        return Perturbed(await stage_of(self._generator, number))

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        if isinstance(self._generator, Observer):
            self._generator.observe(query, tried)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        """Return each query's candidates in the order of the perturbed log-probabilities, normalised anew."""
        answers = await self._generator.generate(queries)
        return [_perturbed(query, answer) for query, answer in zip(queries, answers, strict=True)]


def _perturbed(query: Query, candidates: Sequence[Candidate]) -> list[Candidate]:
    if query.seed == 0 or not candidates:
        return list(candidates)
    chance = random.Random(f"{query.seed}\0{query.state.pretty}")
    noisy = [candidate.logprob + _gumbel(chance) for candidate in candidates]
    top = max(noisy)
    total = top + math.log(sum(math.exp(value - top) for value in noisy))
    pairs = zip(candidates, noisy, strict=True)
    shifted = [replace(candidate, logprob=min(0.0, value - total)) for candidate, value in pairs]
    return sorted(shifted, key=lambda candidate: -candidate.logprob)


def _gumbel(chance: random.Random) -> float:
    return -math.log(-math.log(max(chance.random(), 1e-300)))
