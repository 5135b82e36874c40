"""What a decoder remembers at a query: who has its memories, and how a backend is asked with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from prover.decoder.completion import (
    Backend,
    Completion,
    Guide,
    JudgingBackend,
    Prompt,
    RecallingBackend,
    Sampling,
)
from prover.errors import InputError
from prover.generators.base import Query

if TYPE_CHECKING:
    from memory.lookup import Memory


class MemorySource(Protocol):
    """Has the memories of a search's queries."""

    @property
    def content_hash(self) -> str:
        """16 hex digits: of what the memories hold at the beginning, and how they are chosen."""
        ...

    def memory_for(self, query: Query) -> Memory | None:
        """The memory that may be read at a query; None: none.

        Called for each query just before the model is asked. Queries that may read the same should get the
        same object: their prompts then share what they begin with. See also
        :class:`~prover.decoder.completion.RecallingBackend`.
        """
        ...


#: Has the guide of a query, if it has one.
GuideSource = Callable[[Query], Guide | None]


class Asker:
    """Asks a backend about queries: each with its memory, and its guide, where there are sources of them."""

    def __init__(
        self, backend: Backend, source: MemorySource | None, guides: GuideSource | None = None
    ) -> None:
        """Make one.

        Args:
            guides: for a backend that takes guides.

        Raises:
            InputError: there is a source, and the model reads no memories.
        """
        self._backend = backend
        self._source = source
        self._guides = guides
        if source is not None:
            _recalling(backend)

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the model, of its memories, and of whether it is guided."""
        if self._source is None and self._guides is None:
            return self._backend.content_hash
        memories = self._source.content_hash if self._source else ""
        parts = (self._backend.content_hash, memories, *(("guided",) if self._guides else ()))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    async def complete(
        self, queries: Sequence[Query], prompts: Sequence[Prompt], sampling: Sampling
    ) -> list[list[Completion]]:
        """See :meth:`Backend.complete`."""
        seeds = [query.seed for query in queries]
        if self._source is None and self._guides is None:
            return await self._backend.complete(prompts, sampling, seeds)
        assert isinstance(self._backend, RecallingBackend), "looked at when this was made"
        return await self._backend.complete(
            prompts,
            sampling,
            seeds,
            memories=[self._source.memory_for(query) for query in queries] if self._source else None,
            guides=[self._guides(query) for query in queries] if self._guides else None,
        )

    async def judge(
        self, queries: Sequence[Query], prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """See :meth:`JudgingBackend.judge`."""
        if self._source is None:
            assert isinstance(self._backend, JudgingBackend), "asked only where it judges"
            return await self._backend.judge(prompts, texts)
        memories = [self._source.memory_for(query) for query in queries]
        return await _recalling(self._backend).judge(prompts, texts, memories=memories)


def _recalling(backend: Backend) -> RecallingBackend:
    if isinstance(backend, RecallingBackend) and backend.memory_kind is not None:
        return backend
    raise InputError(
        f"{backend.name} reads no memory: use a checkpoint that has a memory layer (memory.modeling.attach "
        "gives one to a Llama, Qwen2 or Qwen3), and run it in process."
    )
