"""A decoder that remembers while it proves: what it learns goes into the memory that it reads."""

from __future__ import annotations

from collections.abc import Sequence

from prover.decoder.judging import Judge
from prover.generators.base import (
    Candidate,
    Query,
    Step,
    TacticGenerator,
    Tried,
    batch_size,
    content_hash,
)
from prover.recall.source import Recall


class Remembering:
    """A decoder with the source of its memories, which it keeps up to date; it judges if the decoder does."""

    def __init__(self, decoder: TacticGenerator, recall: Recall) -> None:
        """Make one.

        Args:
            decoder: reads the memories of ``recall``.
        """
        self._decoder = decoder
        self._recall = recall

    @property
    def name(self) -> str:
        return self._decoder.name

    @property
    def batch(self) -> int:
        return batch_size(self._decoder)

    @property
    def content_hash(self) -> str:
        """16 hex digits: the decoder's, of which its source of memories is part."""
        return content_hash(self._decoder)

    @property
    def memory_hash(self) -> str:
        return self._recall.memory_hash

    @property
    def judges(self) -> bool:
        return isinstance(self._decoder, Judge) and self._decoder.judges

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        self._recall.learn(proof, position)

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        self._recall.observe(query, tried)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        await self._recall.prepare(queries)
        return await self._decoder.generate(queries)

    async def judge(
        self, queries: Sequence[Query], tactics: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        assert isinstance(self._decoder, Judge), "asked only where it judges"
        await self._recall.prepare(queries)
        return await self._decoder.judge(queries, tactics)
