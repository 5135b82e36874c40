"""The environment over real Lean processes: a file opened in several of them, one ``sorry`` under proof.

A tactic state lives in one process. It is known here by the tactics that lead to it, so that it can be had in
any process: what a worker does not hold (yet, or any more, after a crash) it makes again by replay.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest

from prover.environment import (
    MOST_OWN,
    CrashKind,
    LeanError,
    Outcome,
    ProofFinished,
    Scope,
    TacticCrash,
    TacticResult,
    TacticState,
)
from prover.errors import InputError, LeanUnavailable
from prover.lean.messages import (
    Answer,
    DeclarationsRequest,
    DropRequest,
    Limits,
    Message,
    ModulesRequest,
    OpenRequest,
    Request,
    RunRequest,
    Severity,
    Sorry,
    Source,
    Status,
    TheoremRequest,
    TrustRequest,
)
from prover.lean.pool import LeanPool
from prover.lean.process import Cause, LeanGarbage, LeanHung, LeanProcess, ProcessFailure
from prover.lean.toolchain import Kind, LeanCommand

#: Seconds on the clock that one tactic may take before its process is killed: heartbeats end most tactics
#: sooner, but some ignore them.
TACTIC_SECONDS = 12.0
#: Heartbeats of a tactic in a search: a quarter of what a file may spend, so that few reach the clock.
SEARCH_LIMITS = Limits(heartbeats=50_000)
#: What a cancelled search left running may take this long to end by itself, before its process is exchanged.
PATIENCE_SECONDS = 3.0
#: Elaborating a whole file.
OPEN_SECONDS = 300.0
#: A process that holds more than this share of its memory limit is exchanged between two theorems.
FULL = 0.8

#: Lean's words for an imported module that was not built, or by another Lean.
_UNBUILT = re.compile(r"object file '.*' of module .* does not exist|failed to read file '.*\.olean'")
_BUILD = (
    "Is it built? In the project's folder run `lake build`, and before it `lake exe cache get` where the "
    "project uses Mathlib."
)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A tactic that was sent before its turn, so that Lean need not wait for it."""

    state: int
    tactic: str
    answer: asyncio.Task[Answer]

    def give_up(self) -> None:
        """Nobody wants the answer, nor to hear of a failure."""
        self.answer.cancel()
        self.answer.add_done_callback(lambda task: task.cancelled() or task.exception())


@dataclass(slots=True)
class _Worker:
    """A process with the file open, and the states it holds: by ``sorry`` and path.

    ``states`` and ``doomed`` together are all states of the process: what is no longer wanted is doomed, and
    dropped with the next tactic.
    """

    process: LeanProcess
    is_open: bool = False
    #: So many of the file's trusted names it has been told.
    trusted: int = 0
    states: dict[tuple[int, Path], int] = field(default_factory=dict)
    doomed: list[int] = field(default_factory=list)
    #: The tactic that runs, or ran last; it may outlive a caller that was cancelled.
    task: asyncio.Task[Outcome] | None = None
    #: What runs after it.
    ahead: _Ahead | None = None
    #: To be exchanged before its next use.
    is_full: bool = False

    @property
    def is_busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def keep(self, key: tuple[int, Path], state: int) -> None:
        """Note a new state; the same tactics may have led to another one before."""
        self.doom([key])
        self.states[key] = state

    def doom(self, keys: Sequence[tuple[int, Path]]) -> None:
        self.doomed += [self.states.pop(key) for key in keys if key in self.states]

    def forget(self) -> None:
        """It has a new process now."""
        self.is_open = self.is_full = False
        self.trusted = 0
        self.states.clear()
        self.doomed.clear()
        if self.ahead is not None:
            self.ahead.give_up()
            self.ahead = None


class LeanFile:
    """A source opened in up to ``workers`` processes of a pool.

    Made by :func:`open_file` or :func:`open_request`.
    """

    def __init__(self, pool: LeanPool, request: OpenRequest | TheoremRequest, workers: int) -> None:
        self._pool = pool
        self._request = request
        self._idle: list[_Worker] = []
        self._free = asyncio.Semaphore(workers)
        self._all: list[_Worker] = []
        self._trusted: tuple[str, ...] = ()
        self.workers = workers
        self.messages: tuple[Message, ...] = ()
        self.sorries: tuple[Sorry, ...] = ()
        #: Processes that were lost to a tactic or to the machine.
        self.crashes = 0

    async def start(self) -> None:
        """Open the source in the first process.

        Raises:
            InputError: it does not compile, or imports a module that this Lean does not have.
            LeanUnavailable: Lean cannot be started, or dies of the source.
        """
        async with self.worker(None) as worker:
            answer = await self._open(worker)
            self.messages, self.sorries = answer.messages, answer.sorries

    @property
    def _label(self) -> str:
        """What messages call it."""
        match self._request:
            case OpenRequest(source=source):
                return source.path
            case TheoremRequest(name=name):
                return name

    async def scope(self, index: int, position: int | None = None) -> Scope:
        """Say what the proof of a ``sorry`` may use: the modules that are imported, and its own declarations.

        The later ``sorry``s' theorems are left out; of what else stands further down only Lean knows.

        Raises:
            LeanUnavailable: Lean cannot be started, or fails over it.
        """
        async with self.worker(None) as worker:
            try:
                await self._prepare(worker)
                modules = (await self._ask(worker, ModulesRequest())).modules
                own = (await self._ask(worker, DeclarationsRequest(0, MOST_OWN, ""))).declarations
            except ProcessFailure as failure:
                await self._renew(worker)
                raise LeanUnavailable(f"{self._label}: Lean failed over its imports.\n{failure}") from failure
        later = {sorry.declaration for sorry in self.sorries[index:]}
        earlier = tuple(declaration for declaration in own if declaration.name not in later)
        return Scope(frozenset(module.name for module in modules), earlier, position)

    async def trust(self, names: Sequence[str]) -> None:
        """Let later proofs use declarations whose ``sorry`` has been proved."""
        self._trusted = (*self._trusted, *names)  # each worker is told before its next tactic

    @asynccontextmanager
    async def worker(self, wanted: tuple[int, Path] | None) -> AsyncIterator[_Worker]:
        """Borrow a worker, if possible one that holds the wanted state."""
        async with self._free:
            worker = await self._take(wanted)
            try:
                await self._settle(worker)
                yield worker
            finally:
                self._idle.append(worker)

    async def _take(self, wanted: tuple[int, Path] | None) -> _Worker:
        if self._idle:
            worker = min(self._idle, key=lambda w: (w.is_busy, wanted not in w.states))
            self._idle.remove(worker)
            return worker
        worker = _Worker(await self._pool.acquire())
        self._all.append(worker)
        return worker

    async def _settle(self, worker: _Worker) -> None:
        """Make a borrowed worker fit for use: nobody's tactic runs in it, and it has room."""
        if worker.task is not None:
            await asyncio.wait([worker.task], timeout=PATIENCE_SECONDS)
        if not worker.is_busy:
            await self._settle_ahead(worker)
        if worker.is_busy or worker.is_full:
            await _cancel(worker.task)
            await self._renew(worker)

    async def close(self) -> None:
        """Give all processes back, without what is left of this file in them."""
        for worker in self._all:
            await _cancel(worker.task)
            await self._settle_ahead(worker)
            if worker.process.alive and not worker.process.is_busy:
                worker.doom(list(worker.states))
                await self._ask_quietly(worker, DropRequest(tuple(worker.doomed)))
            await self._pool.release(worker.process)
        self._all.clear()
        self._idle.clear()

    # --- talking to a worker ----------------------------------------------------------------------

    async def run(
        self, worker: _Worker, index: int, path: Path, tactic: str, following: str | None = None
    ) -> Outcome:
        """Run a tactic on the state at ``path`` of a ``sorry``; a lost process is replaced and asked again.

        ``following`` is the tactic that will be asked for next, on the same state: Lean goes on with it.
        When the caller is cancelled the tactic runs on, so that what it makes is known and can be dropped.

        Raises:
            LeanUnavailable: Lean cannot be started any more.
        """
        worker.task = asyncio.create_task(self._run(worker, index, path, tactic, following))
        await asyncio.wait([worker.task])
        return worker.task.result()

    async def _run(
        self, worker: _Worker, index: int, path: Path, tactic: str, following: str | None
    ) -> Outcome:
        start = time.perf_counter()
        for attempt in (1, 2):
            try:
                result, milliseconds = await self._try(worker, index, path, tactic, following)
                return Outcome(result, milliseconds / 1000, time.perf_counter() - start)
            except ProcessFailure as failure:
                self.crashes += 1
                await self._renew(worker)
                if _will_recur(failure) or attempt == 2:
                    seconds = time.perf_counter() - start
                    return Outcome(TacticCrash(_kind(failure), str(failure)), seconds, seconds)
        raise AssertionError("the second attempt returns")

    async def _try(
        self, worker: _Worker, index: int, path: Path, tactic: str, following: str | None
    ) -> tuple[TacticResult, float]:
        await self._prepare(worker)
        state = await self._state(worker, index, path)
        if state is None:
            return TacticCrash(CrashKind.DIED, "the state was lost and its tactics fail now"), 0.0
        answer = await self._ask_ahead(worker, state, tactic, following)
        match answer.status:
            case Status.OK:
                path = (*path, tactic)
                worker.keep((index, path), answer.state)
                return TacticState(answer.goals, path), answer.ms
            case Status.PROVED:
                return ProofFinished((*path, tactic)), answer.ms
            case Status.TACTIC_FAILED | Status.INTERNAL:
                return LeanError(answer.error), answer.ms
            case status:
                raise AssertionError(f"{status} in answer to a tactic: {answer.error}")

    async def _ask_ahead(self, worker: _Worker, state: int, tactic: str, following: str | None) -> Answer:
        """Ask for a tactic, unless that was done ahead, and send the following one behind it."""
        ahead, worker.ahead = worker.ahead, None
        is_this = ahead is not None and (ahead.state, ahead.tactic) == (state, tactic)
        answer = ahead.answer if ahead is not None and is_this else self._send(worker, state, tactic)
        if following is not None:
            worker.ahead = _Ahead(state, following, self._send(worker, state, following))
        return await answer

    def _send(self, worker: _Worker, state: int, tactic: str) -> asyncio.Task[Answer]:
        return asyncio.create_task(self._ask(worker, RunRequest(state, tactic, SEARCH_LIMITS)))

    async def _settle_ahead(self, worker: _Worker) -> None:
        """Wait for a tactic that was sent ahead and is not wanted any more, and forget what it made."""
        ahead, worker.ahead = worker.ahead, None
        if ahead is None:
            return
        await asyncio.wait([ahead.answer], timeout=PATIENCE_SECONDS)
        if not ahead.answer.done():
            ahead.give_up()
            worker.is_full = True
        elif ahead.answer.exception() is None and (answer := ahead.answer.result()).status is Status.OK:
            worker.doomed.append(answer.state)

    async def _state(self, worker: _Worker, index: int, path: Path) -> int | None:
        """Return the id of a state in this worker, made by replay where it is missing."""
        known = len(path)
        while (index, path[:known]) not in worker.states:
            known -= 1
        state = worker.states[index, path[:known]]
        for length in range(known, len(path)):
            answer = await self._ask(worker, RunRequest(state, path[length], SEARCH_LIMITS))
            if answer.status is not Status.OK:
                return None
            state = answer.state
            worker.keep((index, path[: length + 1]), state)
        return state

    async def _prepare(self, worker: _Worker) -> None:
        """Bring a worker up to date."""
        if not worker.is_open:
            await self._open(worker)
        if worker.trusted < len(self._trusted):
            news = self._trusted[worker.trusted :]
            await self._ask(worker, TrustRequest(news))
            worker.trusted += len(news)
        if worker.doomed:
            doomed, worker.doomed = tuple(worker.doomed), []
            await self._ask(worker, DropRequest(doomed))

    async def drop(self, keys: Sequence[tuple[int, Path]]) -> None:
        """Forget states, in whichever worker holds them."""
        for worker in self._all:
            worker.doom(keys)

    async def tidy(self, index: int) -> None:
        """Forget all states of a ``sorry`` but its root, and exchange processes that are nearly full."""
        for worker in self._all:
            worker.doom([key for key in worker.states if key[0] == index and key[1]])
            worker.is_full = worker.process.memory_share > FULL

    async def _open(self, worker: _Worker) -> Answer:
        """Open the source in a worker.

        Raises:
            InputError, LeanUnavailable: as :meth:`start`.
        """
        answer = await self._exchange_for_opening(worker)
        if answer.status is Status.MISSING_MODULE:
            raise InputError(missing_module(self._label, answer.error, self._pool.command))
        if answer.status is Status.BAD_REQUEST:
            raise InputError(f"{self._label}: {answer.error}")
        if answer.status is not Status.OK and _UNBUILT.search(answer.error):
            raise InputError(f"{self._label}: {answer.error}. {_BUILD}")
        if answer.status is not Status.OK:
            raise LeanUnavailable(f"{self._label}: Lean gave up on it: {answer.error}")
        errors = [m for m in answer.messages if m.severity is Severity.ERROR]
        if errors:
            raise InputError(compile_errors(self._label, errors))
        worker.states = {(i, ()): sorry.state for i, sorry in enumerate(answer.sorries)}
        worker.is_open = True
        return answer

    async def _exchange_for_opening(self, worker: _Worker) -> Answer:
        try:
            return await worker.process.ask(self._request, OPEN_SECONDS)
        except ProcessFailure as failure:
            if self.sorries:  # it was opened before: the process is at fault, not the file
                raise
            raise LeanUnavailable(f"{self._label}: Lean did not survive this file.\n{failure}") from failure

    async def _ask(self, worker: _Worker, request: Request) -> Answer:
        return await worker.process.ask(request, TACTIC_SECONDS)

    async def _ask_quietly(self, worker: _Worker, request: Request) -> None:
        """Ask for something that a dead process need not do: its next use notices."""
        try:
            await self._ask(worker, request)
        except ProcessFailure:
            self.crashes += 1

    async def _renew(self, worker: _Worker) -> None:
        worker.forget()
        worker.process = await self._pool.replace(worker.process)


async def _cancel(task: asyncio.Task[Outcome] | None) -> None:
    """Cancel a task and wait for its end, whatever it is."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def open_file(
    pool: LeanPool, source: Source, dependencies: Sequence[Source] = (), workers: int = 1
) -> AsyncIterator[LeanFile]:
    """Open a source in processes of a pool.

    Raises:
        InputError: it does not compile, or imports a module that this Lean does not have.
        LeanUnavailable: Lean cannot be started, or dies of the source.
    """
    async with open_request(pool, OpenRequest(source, tuple(dependencies)), workers) as file:
        yield file


@asynccontextmanager
async def open_request(
    pool: LeanPool, request: OpenRequest | TheoremRequest, workers: int = 1
) -> AsyncIterator[LeanFile]:
    """Open a source, or a library theorem as a source whose only ``sorry`` is its whole proof.

    Raises:
        InputError: as :func:`open_file`; there is no such theorem, or its statement needs something that its
            own module declares.
        LeanUnavailable: Lean cannot be started, or dies of it.
    """
    file = LeanFile(pool, request, workers)
    try:
        await file.start()
        yield file
    finally:
        await file.close()


class LeanDojo:
    """One ``sorry`` of an opened file: the :class:`~prover.environment.Environment` of a search."""

    def __init__(self, file: LeanFile, index: int, workers: int | None = None) -> None:
        self._file = file
        self._index = index
        self._workers = workers or file.workers

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def root(self) -> TacticState:
        return TacticState((self._file.sorries[self._index].goal,), ())

    async def scope(self, position: int | None = None) -> Scope:
        """See :meth:`LeanFile.scope`."""
        return await self._file.scope(self._index, position)

    async def run_tac(self, state: TacticState, tactic: str) -> Outcome:
        """See :class:`~prover.environment.Environment`."""
        return (await self.run_tacs(state, [tactic]))[0]

    async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
        """See :class:`~prover.environment.Environment`."""
        outcomes: list[Outcome] = []
        async with self._file.worker((self._index, state.path)) as worker:
            for tactic, following in zip_longest(tactics, tactics[1:]):
                outcomes.append(await self._file.run(worker, self._index, state.path, tactic, following))
                if isinstance(outcomes[-1].result, ProofFinished):
                    break
        return outcomes

    async def drop(self, states: Sequence[TacticState]) -> None:
        """See :class:`~prover.environment.Environment`."""
        await self._file.drop([(self._index, state.path) for state in states if state.path])

    async def close(self) -> None:
        """Forget every state but the root."""
        await self._file.tidy(self._index)


def missing_module(label: str, module: str, lean: LeanCommand) -> str:
    """Say which import cannot be had under a Lean, and what to do."""
    if lean.kind is Kind.TOOLCHAIN:
        advice = f"Is the name right? {_BUILD}"
    elif module.split(".")[0] == "Mathlib":
        advice = (
            "The embedded Lean has no Mathlib. Put the file into a Lake project that requires Mathlib "
            "and has a toolchain (elan), or choose one with --lean PATH."
        )
    else:
        advice = "Is the name right, and does the file lie in its project's folder?"
    return f"{label}: the imported module {module} cannot be found. {advice}"


def compile_errors(label: str, errors: Sequence[Message], shown: int = 5) -> str:
    """Lean's own messages with line and column, for a source that does not compile."""
    lines = [f"{label}:{e.position.line}:{e.position.column}: error: {e.text}" for e in errors[:shown]]
    if len(errors) > shown:
        lines.append(f"... and {len(errors) - shown} more errors")
    return "\n".join([f"{label} does not compile:", *lines])


def _will_recur(failure: ProcessFailure) -> bool:
    """The tactic is to blame; a process can also die of something else, of what it did before for example."""
    return failure.post_mortem.cause in (Cause.HUNG, Cause.MEMORY_FAULT)


def _kind(failure: ProcessFailure) -> CrashKind:
    match failure:
        case LeanHung():
            return CrashKind.TIMEOUT
        case LeanGarbage():
            return CrashKind.GARBAGE
        case _:
            return CrashKind.DIED
