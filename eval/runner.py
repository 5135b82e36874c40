"""The main loop of an evaluation: attempts every problem with every seed, and writes down what became of it.

What is written down already is passed over, so that a run that was stopped, however, goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from eval.benchmarks.base import Problem
from eval.records import Attempted, Record, Status
from eval.store import Key


class Bench(Protocol):
    """Where attempts are made: on this machine, or on many."""

    @property
    def workers(self) -> int:
        """How many attempts may be under way at once."""
        ...

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        """Look for a proof; infrastructure failures are retried here, and then part of the record.

        Raises:
            LeanUnavailable: Lean cannot be started at all.
        """
        ...

    def learn(self, record: Record) -> None:
        """Let the tactic generator learn from a proof."""
        ...


class Store(Protocol):
    """Where attempts are written down."""

    @property
    def records(self) -> Mapping[Key, Record]:
        """What is written down already, in the order of writing."""
        ...

    def keep(self, attempted: Attempted) -> None:
        """Write an attempt down; when this returns it is on the disk.

        Raises:
            InputError: it cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to be made."""

    problem: Problem
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        return self.problem.id, self.seed


# --- what is told on the way ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins, or goes on."""

    #: Attempts of the whole run.
    total: int
    #: Those that an earlier start has made.
    done: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt is written down."""

    record: Record
    #: Seconds that the runner itself took for it: choosing, writing, learning.
    runner_seconds: float


Event = Started | Finished
OnEvent = Callable[[Event], None]


# --- the run ----------------------------------------------------------------------------------------


async def run(
    problems: Sequence[Problem],
    seeds: Sequence[int],
    bench: Bench,
    store: Store,
    on_event: OnEvent,
    *,
    online: bool = False,
) -> None:
    """Make all attempts that the store does not hold yet, up to ``bench.workers`` side by side.

    When this is cancelled, attempts under way are given up: a record is written whole or not at all.

    Args:
        online: let the bench learn from each proof as it is found.

    Raises:
        LeanUnavailable: Lean cannot be started; what was done by then is in the store.
        InputError: the store cannot be written.
    """
    everything = jobs(problems, seeds)
    earlier = [store.records[job.key] for job in everything if job.key in store.records]
    on_event(Started(len(everything), tuple(earlier)))
    if online:
        # In the order in which they were found, as if there had been no break.
        for record in store.records.values():
            _learn(bench, record)
    queue = JobQueue(job for job in everything if job.key not in store.records)
    loop = _Loop(bench, store, queue, on_event, online)
    await _all(loop.work(worker) for worker in range(bench.workers))


def jobs(problems: Iterable[Problem], seeds: Iterable[int]) -> list[Job]:
    """All attempts of a run: by position, and the seeds of a problem one after the other."""
    ordered = sorted(problems, key=lambda problem: problem.position)
    return [Job(problem, seed) for problem in ordered for seed in dict.fromkeys(seeds)]


@dataclass(frozen=True, slots=True)
class _Loop:
    bench: Bench
    store: Store
    queue: JobQueue
    on_event: OnEvent
    online: bool

    async def work(self, worker: int) -> None:
        """Make one attempt after the other, until there are no more."""
        start = time.perf_counter()
        while (job := self.queue.take(worker)) is not None:
            choosing = time.perf_counter() - start
            attempted = await self.bench.attempt(job.problem, job.seed)
            start = time.perf_counter()
            self.keep(attempted)
            writing = time.perf_counter() - start
            start = time.perf_counter()
            self.on_event(Finished(attempted.record, choosing + writing))

    def keep(self, attempted: Attempted) -> None:
        """Write an attempt down and learn from it; nothing can come between, not even a cancellation."""
        self.store.keep(attempted)
        if self.online:
            _learn(self.bench, attempted.record)


def _learn(bench: Bench, record: Record) -> None:
    if record.status is Status.PROVED:
        bench.learn(record)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; the first failure, or a cancellation, ends the others."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class JobQueue:
    """Hands out jobs in order, but to each worker the problems of one module after the other.

    To change the module means to import other files into Lean, which takes its time.
    """

    def __init__(self, waiting: Iterable[Job]) -> None:
        groups = groupby(waiting, key=lambda job: job.problem.module)
        self._fresh = deque(deque(group) for _, group in groups)
        #: What each worker is at.
        self._own: dict[int, deque[Job]] = {}

    def take(self, worker: int) -> Job | None:
        """The next job for this worker; None when there are no more."""
        if not self._own.get(worker):
            self._own[worker] = self._next_group()
        own = self._own[worker]
        return own.popleft() if own else None

    def _next_group(self) -> deque[Job]:
        """A module that nobody is at; else the one with the most work left, to share in it."""
        if self._fresh:
            return self._fresh.popleft()
        return max(self._own.values(), key=len, default=deque())
