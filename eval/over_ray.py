"""Attempts on many machines: a bench whose workers are Ray actors.

An actor holds one bench with one worker, and with it a Lean process and its checker; its node installs its
own Lean. It gets a theorem at a time, and nothing from the disk of the machine that hands them out. When an
actor is lost, with its node or alone, its theorem goes to the next one that is free, and another actor is
started wherever there is room.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from eval.benchmarks.base import Problem
from eval.provenance import git_commit
from eval.ray_cluster import ActorLost, answer_of, kill, room_for, wait_for
from eval.records import Attempted, Record
from eval.runner import Bench
from prover.errors import InputError, LeanUnavailable, ProverError
from prover.settings import GIB

#: What Ray sets aside for an actor: a core, and room (in bytes) for a Lean process and its checker.
RESOURCES: Mapping[str, float] = {"num_cpus": 1, "memory": 4 * GIB}
#: A theorem that so many actors were lost over is given up.
TRIES = 3
#: So many actors in a row may be lost before they are ready.
_FAILED_STARTS = 3
#: An actor may take this long to stop its Lean before it is killed.
_CLOSING_SECONDS = 5.0


class IdentifiedBench(Bench, Protocol):
    """A bench within an actor."""

    lean: str
    model_hash: str
    memory_hash: str


#: Makes the bench of an actor, on the actor's node: it is pickled, and must hold no path of this machine.
MakeBench = Callable[[], AbstractAsyncContextManager[IdentifiedBench]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be the same in all actors of a run."""

    lean: str
    model_hash: str
    memory_hash: str
    #: Of the program.
    commit: str


class _Actor:
    """Runs on a node: one bench with one worker."""

    def __init__(self, make: MakeBench) -> None:
        self._make = make
        self._stack = AsyncExitStack()
        self._bench: IdentifiedBench | None = None

    async def open(self) -> tuple[Identity, str]:
        """Install and start Lean; return what it is, and on which machine."""
        bench = self._bench = await self._stack.enter_async_context(self._make())
        identity = Identity(bench.lean, bench.model_hash, bench.memory_hash, git_commit())
        return identity, platform.node()

    async def attempt(self, problem: Problem, seed: int, proofs: Sequence[Record]) -> Attempted:
        """Learn what is new, and make an attempt."""
        assert self._bench is not None
        for record in proofs:
            self._bench.learn(record)
        return await self._bench.attempt(problem, seed)

    async def close(self) -> None:
        await self._stack.aclose()


@dataclass(slots=True)
class _Worker:
    """An actor as seen from here."""

    #: Ray's handle of it.
    actor: Any
    #: So many of the run's proofs it has been told.
    told: int = 0
    #: The module of its last problem.
    module: str | None = None


class RayBench:
    """A bench over Ray; to be used with ``async with``, while :func:`connected`."""

    #: Set when it has been entered: what all actors have.
    lean: str
    model_hash: str
    memory_hash: str

    def __init__(
        self,
        make: MakeBench,
        workers: int | None = None,
        resources: Mapping[str, float] = RESOURCES,
    ) -> None:
        """Make a bench; no actor starts before ``async with``.

        Args:
            workers: how many actors; None is as many as the cluster has room for.
            resources: what Ray sets aside for each, as options of an actor.

        Raises:
            InputError: the cluster has no room for a single one.
        """
        self._make = make
        self._resources = dict(resources)
        self.workers = workers or room_for(resources)
        self._identity: Identity | None = None
        self._proofs: list[Record] = []
        self._all: list[_Worker] = []
        self._ready: list[_Worker] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._failed_starts = 0
        self._failure: ProverError | None = None

    async def __aenter__(self) -> Self:
        """Start the actors, and wait until the first one is ready.

        Raises:
            LeanUnavailable: Lean cannot be started on a node.
            InputError: an actor says that the settings are at fault.
        """
        for _ in range(self.workers):
            self._start_another()
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ready or self._failure)
            self._raise_failure()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        closing = [worker.actor.close.remote() for worker in self._ready]
        await wait_for(closing, _CLOSING_SECONDS)
        for worker in self._all:
            kill(worker.actor)

    # --- as the runner sees it --------------------------------------------------------------------

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        """Have an actor attempt it; when the actor is lost, another one.

        Raises:
            LeanUnavailable: Lean cannot be started on a node.
        """
        loss = ""
        for _ in range(TRIES):
            worker = await self._take(problem.module)
            try:
                return await self._ask(worker, problem, seed)
            except ActorLost as lost:
                loss = str(lost)
                self._forget(worker)
                self._start_another()
        return self._give_up(problem, seed, loss)

    def learn(self, record: Record) -> None:
        """Let all actors learn from a proof: each is told before its next attempt."""
        self._proofs.append(record)

    def _give_up(self, problem: Problem, seed: int, loss: str) -> Attempted:
        from eval.attempt import blank_record

        record = blank_record(problem, seed, self.lean, self.model_hash, self.memory_hash)
        reason = f"{TRIES} workers were lost over it; the last: {loss}"
        return Attempted(replace(record, tries=TRIES, error_kind="worker_lost", message=reason), None)

    # --- actors -----------------------------------------------------------------------------------

    async def _ask(self, worker: _Worker, problem: Problem, seed: int) -> Attempted:
        known = len(self._proofs)
        news = self._proofs[worker.told :]
        answer: Attempted = await answer_of(worker.actor.attempt.remote(problem, seed, news))
        worker.told, worker.module = known, problem.module
        self._ready.append(worker)
        await self._notify()
        return answer

    async def _take(self, module: str | None) -> _Worker:
        """Take a free actor, if possible one that was at the same module."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ready or self._failure)
            self._raise_failure()
            worker = min(self._ready, key=lambda ready: ready.module != module)
            self._ready.remove(worker)
            return worker

    def _start_another(self) -> None:
        task = asyncio.create_task(self._start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        """Start an actor, anywhere, and put it with those that are ready."""
        while self._failure is None:
            worker = self._new_worker()
            try:
                identity, machine = await answer_of(worker.actor.open.remote())
            except ActorLost as lost:
                self._forget(worker)
                self._note_failed_start(lost)
            except ProverError as failure:
                self._failure = failure
            else:
                self._failed_starts = 0
                self._agree(identity, machine)
                self._ready.append(worker)
                break
        await self._notify()

    def _new_worker(self) -> _Worker:
        import ray

        actor_class = ray.remote(_Actor).options(max_restarts=0, **self._resources)
        worker = _Worker(actor_class.remote(self._make))
        self._all.append(worker)
        return worker

    def _forget(self, worker: _Worker) -> None:
        kill(worker.actor)  # it may be alive and only out of reach
        self._all.remove(worker)

    def _note_failed_start(self, lost: ActorLost) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _FAILED_STARTS:
            self._failure = LeanUnavailable(f"{_FAILED_STARTS} workers in a row did not start: {lost}")

    def _agree(self, identity: Identity, machine: str) -> None:
        if self._identity is None:
            self._identity = identity
            self.lean, self.model_hash = identity.lean, identity.model_hash
            self.memory_hash = identity.memory_hash
        if identity != self._identity:
            self._failure = InputError(
                f"{machine} has {identity}, and other nodes {self._identity}: "
                "install the same version of lean-prover, with the same Lean, on all nodes"
            )

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
