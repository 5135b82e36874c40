"""Calls of concurrent searches go together, and their failures stay apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.decoder.batching import Batcher
from prover.errors import ModelUnavailable


class Worker:
    """Squares numbers once it is let; fails at 13."""

    def __init__(self, open_: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.began = threading.Event()
        if open_:
            self.gate.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.began.set()
        assert self.gate.wait(10.0)
        if 13 in items:
            raise RuntimeError("thirteen")
        return [item * item for item in items]

    async def busy(self) -> None:
        await asyncio.to_thread(self.began.wait, 10.0)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(20, 99), max_size=6), max_size=8), st.integers(1, 5))
def test_each_call_gets_its_own_answers(calls: list[list[int]], limit: int) -> None:
    async def run() -> None:
        worker = Worker()
        batcher = Batcher(worker, limit)
        answers = await asyncio.gather(*map(batcher.submit, calls))
        assert answers == [[item * item for item in call] for call in calls]
        assert [*chain(*worker.batches)] == [*chain(*calls)]
        assert all(0 < len(batch) <= limit for batch in worker.batches)
        await batcher.close()

    asyncio.run(run())


async def test_what_comes_while_a_batch_runs_goes_together() -> None:
    worker = Worker(open_=False)
    batcher = Batcher(worker, 4)
    first = asyncio.create_task(batcher.submit([1]))
    await worker.busy()
    others = [asyncio.create_task(batcher.submit([n, n + 20])) for n in (2, 3, 4)]
    await asyncio.sleep(0)  # the loop is free while the worker waits
    worker.gate.set()
    assert await asyncio.gather(first, *others) == [[1], [4, 22**2], [9, 23**2], [16, 24**2]]
    assert worker.batches == [[1], [2, 22, 3, 23], [4, 24]]
    await batcher.close()


async def test_an_error_reaches_those_of_its_batch_alone() -> None:
    worker = Worker(open_=False)
    batcher = Batcher(worker, 2)
    calls = [asyncio.create_task(batcher.submit([n])) for n in (1, 2, 13, 4, 5)]
    await worker.busy()
    worker.gate.set()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(it) for it in found] == [list, list, RuntimeError, RuntimeError, list]
    assert await batcher.submit([6]) == [36]
    await batcher.close()


async def test_who_is_cancelled_takes_nobody_along() -> None:
    worker = Worker(open_=False)
    batcher = Batcher(worker, 2)
    running = [asyncio.create_task(batcher.submit([n])) for n in (1, 2)]
    await worker.busy()
    waiting = [asyncio.create_task(batcher.submit([n])) for n in (3, 4, 5)]
    await asyncio.sleep(0)
    running[0].cancel()
    waiting[0].cancel()
    worker.gate.set()
    found = await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert [it if isinstance(it, list) else type(it) for it in found] == [
        asyncio.CancelledError,
        [4],
        asyncio.CancelledError,
        [16],
        [25],
    ]
    assert worker.batches == [[1, 2], [4, 5]]
    await batcher.close()


async def test_closing_waits_for_the_batch_and_refuses_the_rest() -> None:
    worker = Worker(open_=False)
    batcher = Batcher(worker, 1)
    calls = [asyncio.create_task(batcher.submit([n])) for n in (1, 2)]
    await worker.busy()
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    worker.gate.set()
    await closing
    assert await calls[0] == [1]
    with pytest.raises(ModelUnavailable):
        await calls[1]
    with pytest.raises(ModelUnavailable):
        await batcher.submit([3])
    assert worker.batches == [[1]]


async def test_closing_an_idle_one_is_quick_and_may_happen_twice() -> None:
    batcher = Batcher(Worker(), 1)
    await batcher.close()
    await batcher.close()


def test_one_batcher_serves_one_loop_after_the_other() -> None:
    batcher = Batcher(Worker(), 3)
    assert asyncio.run(batcher.submit([1, 2])) == [1, 4]
    assert asyncio.run(batcher.submit([3])) == [9]
    asyncio.run(batcher.close())


def test_batches_hold_something() -> None:
    with pytest.raises(ValueError, match="0 items"):
        Batcher(Worker(), 0)
