"""All that a decoder remembers at a query: the library, the file at hand, and its own experience."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from memory.external import UnionMemory
from memory.lookup import Memory
from prover.generators.base import Query, Step, Tried
from prover.recall.experience import CAPACITY, PER_STATE, TOGETHER, Experience
from prover.recall.own import OwnDeclarations
from prover.recall.passages import CONTEXT_TOKENS

#: Unions that are kept: searches that go on side by side ask for one each.
_UNIONS = 64


class Library(Protocol):
    """The memory of a library, of which a query may find what its imports have."""

    @property
    def content_hash(self) -> str: ...

    def view(self, modules: frozenset[str] | None) -> Memory:
        """Some modules' declarations; None: all. For the same modules, the same object."""
        ...


class Recall:
    """A :class:`~prover.decoder.recall.MemorySource` of several memories; to be closed.

    Learning and observing are notes. :meth:`prepare` has the notes read, in one thread of its own: the event
    loop stays free, and nothing is read twice.
    """

    def __init__(
        self,
        library: Library | None = None,
        own: OwnDeclarations | None = None,
        experience: Experience | None = None,
    ) -> None:
        """Put memories together; any may be missing."""
        self._library = library
        self._own = own
        self._experience = experience
        self._unions: OrderedDict[tuple[int, ...], UnionMemory] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recall")

    @property
    def content_hash(self) -> str:
        """16 hex digits: of the library, and of which kinds there are beside it; not of what was learned."""
        kinds = sorted(self._experience.kinds) if self._experience else []
        limits = (CONTEXT_TOKENS, CAPACITY, PER_STATE, TOGETHER)
        library = self._library.content_hash if self._library else ""
        parts = ("recall 1", library, self._own is not None, kinds, limits)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def memory_hash(self) -> str:
        """See :attr:`Experience.memory_hash`."""
        return self._experience.memory_hash if self._experience else ""

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """See :class:`~prover.generators.base.Learner`."""
        if self._experience is not None:
            self._experience.learn(proof, position)

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        """See :class:`~prover.generators.base.Observer`."""
        if self._experience is not None:
            self._experience.observe(query, tried)

    async def prepare(self, queries: Sequence[Query]) -> None:
        """Have read what should be before these queries are asked.

        Raises:
            InputError, ModelUnavailable: what is kept across runs cannot be written.
        """
        if self._own is not None and self._own.is_due(queries):
            await self._run(self._own.read)
        if self._experience is not None and self._experience.is_due(queries):
            experience = self._experience
            await self._run(lambda: experience.read(queries))

    def memory_for(self, query: Query) -> Memory | None:
        """What may be read at a query; the same object for the same scope, until something is added."""
        found: list[Memory] = []
        if self._library is not None:
            found.append(self._library.view(query.scope.modules))
        if self._own is not None:
            found += self._own.memories(query)
        if self._experience is not None:
            found += self._experience.memories(query)
        return self._joined([memory for memory in found if len(memory)])

    async def close(self) -> None:
        """Have read and written what is to be kept across runs.

        Raises:
            InputError, ModelUnavailable: it cannot be written.
        """
        try:
            if self._experience is not None:
                await self._run(self._experience.finish)
        finally:
            # What a search has left there when it was given up may go on for a while.
            await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, work: Callable[[], None]) -> None:
        """Work in the thread, after all that it was given before; who is cancelled leaves it to it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _joined(self, memories: Sequence[Memory]) -> Memory | None:
        if len(memories) < 2:
            return memories[0] if memories else None
        # The union holds them, so that their ids stay theirs.
        ids = tuple(map(id, memories))
        if ids not in self._unions:
            self._unions[ids] = UnionMemory(memories)
            if len(self._unions) > _UNIONS:
                self._unions.popitem(last=False)
        self._unions.move_to_end(ids)
        return self._unions[ids]
