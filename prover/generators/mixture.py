"""Several tactic generators as one: what any of them proposes, by the weighted sum of their probabilities."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Sequence

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

#: Candidates a state, at most.
WIDTH = 96


class Mixture:
    """A mixture of generators, which learns if any of them does."""

    def __init__(self, parts: Sequence[tuple[TacticGenerator, float]], width: int = WIDTH) -> None:
        """Make a mixture.

        Args:
            parts: generators with their weights, which are normalised.
            width: candidates a state, at most.

        Raises:
            ValueError: there is no part, or a weight is not above 0.
        """
        if not parts or any(weight <= 0.0 for _, weight in parts):
            raise ValueError("a mixture needs generators with weights above 0")
        total = math.fsum(weight for _, weight in parts)
        self._parts = [(generator, math.log(weight / total)) for generator, weight in parts]
        self._width = width

    @property
    def name(self) -> str:
        return "+".join(generator.name for generator, _ in self._parts)

    @property
    def batch(self) -> int:
        """The most that one of its parts likes to be asked at once."""
        return max(batch_size(generator) for generator, _ in self._parts)

    @property
    def content_hash(self) -> str:
        """16 hex digits: of its parts' hashes and weights."""
        parts = [(content_hash(generator), round(weight, 9)) for generator, weight in self._parts]
        return hashlib.sha256(repr((parts, self._width)).encode()).hexdigest()[:16]

    @property
    def memory_hash(self) -> str:
        """What its parts have learned; "" when nothing."""
        hashes = [memory_hash(generator) for generator, _ in self._parts]
        learned = [one for one in hashes if one]
        return learned[0] if len(learned) == 1 else _hash(learned) if learned else ""

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Hand a proof to the parts that learn."""
        for generator, _ in self._parts:
            if isinstance(generator, Learner):
                generator.learn(proof, position)

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        """Tell the parts that observe."""
        for generator, _ in self._parts:
            if isinstance(generator, Observer):
                generator.observe(query, tried)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        answers = await asyncio.gather(*(generator.generate(queries) for generator, _ in self._parts))
        weights = [weight for _, weight in self._parts]
        lists = (list(zip(one, weights, strict=True)) for one in zip(*answers, strict=True))
        return [mix(parts, self._width) for parts in lists]


def mix(parts: Sequence[tuple[Sequence[Candidate], float]], width: int) -> list[Candidate]:
    """Add up each tactic's probabilities over lists with log-weights; the best first, at most ``width``."""
    found: dict[str, list[float]] = {}
    for candidates, weight in parts:
        for candidate in candidates:
            found.setdefault(candidate.tactic, []).append(candidate.logprob + weight)
    summed = [Candidate(tactic, min(0.0, log_sum_exp(logs))) for tactic, logs in found.items()]
    return sorted(summed, key=lambda candidate: -candidate.logprob)[:width]


def log_sum_exp(logs: Sequence[float]) -> float:
    """The logarithm of the sum of the exponentials; at least one, and finite."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs))


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
