"""Calls of concurrent searches, in batches: while one batch is worked on, the next one gathers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from prover.errors import ModelUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Hands items to a function, many at once, in one thread of its own: the event loop stays free.

    An error of the function reaches all whose items were in that batch, and nobody else.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer]], limit: int) -> None:
        """Make a batcher; its thread starts with the first item.

        Args:
            work: answers items in order; it is never called twice at the same time.
            limit: items of one batch, at most.
        """
        if limit < 1:
            raise ValueError(f"batches of {limit} items")
        self._work = work
        self._limit = limit
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        # One and the same thread: each thread that calls torch gets helper threads of its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._closed = False

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answers to the items, in order; cancelling it lets go of those not yet worked on.

        Raises:
            ModelUnavailable: the batcher is closed, or was while this waited.
        """
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._queue.extend(zip(items, futures, strict=True))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return list(await asyncio.gather(*futures))

    async def close(self) -> None:
        """Wait for the batch that is worked on; those that are still in the queue get an error."""
        self._closed = True
        _fail([future for _, future in self._queue], _closed())
        self._queue.clear()
        if self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])
        self._thread.shutdown()

    async def _run(self) -> None:
        # Who asks in this turn of the loop goes together.
        await asyncio.sleep(0)
        while batch := self._take():
            await self._answer(batch)

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        """Take the next batch from the queue, without those who wait no more."""
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._queue and len(batch) < self._limit:
            item, future = self._queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        await asyncio.wait([running])
        futures = [future for _, future in batch]
        if (error := running.exception()) is not None:
            _fail(futures, error)
            return
        for future, answer in zip(futures, running.result(), strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(futures: Sequence[asyncio.Future[Answer]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _closed() -> ModelUnavailable:
    return ModelUnavailable("The model was closed.")
