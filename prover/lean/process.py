"""One Lean process that runs the tactic server, and how it can fail.

The protocol: the first line to the server is a random word, the *nonce*. The server starts each of its
answers with it and a space; once it is ready it answers request 0, which nobody asked. All other lines on its
stdout come from Lean code under elaboration, which does not know the nonce: they are kept as noise and never
believed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Self

import psutil

from prover.errors import LeanUnavailable
from prover.lean.guard import remove_group
from prover.lean.messages import (
    Answer,
    CheckRequest,
    CheckTheoremRequest,
    OpenRequest,
    Request,
    StatementRequest,
    Status,
    TheoremRequest,
    decode,
    encode,
)
from prover.lean.toolchain import Kind, LeanCommand, Mount

_LINE_LIMIT = 64 * 1024**2
_KEPT_LINES = 50
_KEPT_CHARACTERS = 2000
_WATCH_SECONDS = 0.5
_GROUP_ATTEMPTS = 20
_READY = 0
_IMPORTS = ("import ", "public import ", "meta import ", "public meta import ")
#: Exit codes of the launcher, and what a shell makes of SIGABRT and SIGKILL.
_MEMORY_FAULT, _OUT_OF_MEMORY = 134, 137
_MEBIBYTE = 1024**2


class Cause(StrEnum):
    """The likely cause of a process's end."""

    HUNG = "it did not answer in time and was killed"
    MEMORY_LIMIT = "it went over its memory limit and was killed"
    PROCESS_LIMIT = "it started more processes than it may and was killed"
    OUT_OF_MEMORY = "it ran out of memory"
    MEMORY_FAULT = "stack overflow or memory fault"
    KILLED = "killed from outside, perhaps because the machine ran out of memory"
    GARBAGE = "it sent something that is no answer and was killed"
    CLOSED = "it was closed"
    EXITED = "it ended by itself"


@dataclass(frozen=True, slots=True)
class PostMortem:
    """What is known of a process that is no more."""

    cause: Cause
    #: None when a signal ended it.
    exit_code: int | None
    signal: str | None
    #: The last lines, oldest first.
    stderr: tuple[str, ...]
    #: The last lines on stdout that were no answers.
    noise: tuple[str, ...]
    #: Bytes; the peak is the highest seen, twice a second.
    memory_limit: int
    peak_memory: int

    def __str__(self) -> str:
        end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
        text = (
            f"Lean died: {self.cause} ({end}; peak memory {self.peak_memory // _MEBIBYTE} MiB, "
            f"limit {self.memory_limit // _MEBIBYTE} MiB)"
        )
        return "\n".join([text, *(f"  {line}" for line in self.stderr[-5:])])


class ProcessFailure(Exception):
    """A Lean process failed, not a tactic; the process is gone."""

    def __init__(self, post_mortem: PostMortem) -> None:
        super().__init__(str(post_mortem))
        self.post_mortem = post_mortem


class LeanDied(ProcessFailure):
    """It ended, or went over its memory limit."""


class LeanHung(ProcessFailure):
    """It did not answer in time."""


class LeanGarbage(ProcessFailure):
    """It sent an answer that cannot be read."""


_FAILURES: dict[Cause, type[ProcessFailure]] = {Cause.HUNG: LeanHung, Cause.GARBAGE: LeanGarbage}


class LeanProcess:
    """A running tactic server. Made by :meth:`start`; to be closed, or used with ``async with``."""

    def __init__(self, process: Process, command: LeanCommand, memory_limit: int) -> None:
        self._process = process
        self._command = command
        self._memory_limit = memory_limit
        self._nonce = secrets.token_hex(16).encode() + b" "
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._abandoned: set[int] = set()
        #: The answer to the request sent last.
        self._newest: asyncio.Future[Answer] | None = None
        self._last_id = _READY
        self._cause: Cause | None = None
        self._failure: ProcessFailure | None = None
        self._stderr: deque[str] = deque(maxlen=_KEPT_LINES)
        self._noise: deque[str] = deque(maxlen=_KEPT_LINES)
        self._memory = 0
        self._peak_memory = 0
        self._headers: set[tuple[str, ...]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._life: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        command: LeanCommand,
        mounts: Iterable[Mount] = (),
        memory_limit: int | None = None,
        seconds: float = 180.0,
    ) -> Self:
        """Start a process and wait until it is ready.

        Args:
            memory_limit: bytes it may hold resident; None is the command's own.
            seconds: how long it may take.

        Raises:
            ProcessFailure: it died or hung before it was ready.
            LeanUnavailable: it cannot be started at all.
        """
        process = await _spawn(command, mounts)
        self = cls(process, command, memory_limit or command.memory_limit)
        _live_groups.add(process.pid)
        try:
            await self._become_ready(seconds)
        except BaseException:  # cancelled as well: nothing may stay behind
            await self.close()
            raise
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """It has not failed yet, as far as is known."""
        return self._cause is None and self._process.returncode is None

    @property
    def used(self) -> bool:
        """It has been asked for anything yet."""
        return self._last_id > _READY

    @property
    def is_busy(self) -> bool:
        """It works on a request, perhaps one that nobody waits for any more."""
        return bool(self._pending or self._abandoned)

    @property
    def imports(self) -> int:
        """How many sets of modules it has imported so far: their memory is never freed."""
        return len(self._headers)

    @property
    def memory_share(self) -> float:
        """What it holds resident as a share of its limit."""
        return self._memory / self._memory_limit

    @property
    def memory(self) -> int:
        """Bytes it holds resident, as last looked at."""
        return self._memory

    @property
    def peak_memory(self) -> int:
        """The most bytes it was seen to hold resident."""
        return self._peak_memory

    @property
    def noise(self) -> tuple[str, ...]:
        """The last lines on stdout that were no answers."""
        return tuple(self._noise)

    async def ask(self, request: Request, seconds: float) -> Answer:
        """Send a request and wait for its answer; several may be under way, and are answered in order.

        Args:
            seconds: how long Lean may work on it; what it waits for earlier requests does not count.

        Raises:
            LeanHung: no answer in time. The process is killed, and all that wait for it get this error.
            LeanDied: the process is gone.
            LeanGarbage: the process answered something unreadable, and was killed.
        """
        self._last_id += 1
        self._note_imports(request)
        line = encode(request, self._last_id)
        return await self._exchange(self._last_id, line, seconds)

    def _note_imports(self, request: Request) -> None:
        match request:
            case OpenRequest(source=source) | StatementRequest(header=source) | CheckRequest(original=source):
                lines = source.text.splitlines()
                self._headers.add(tuple(line for line in lines if line.lstrip().startswith(_IMPORTS)))
            case TheoremRequest(module=module) | CheckTheoremRequest(module=module):
                self._headers.add((module,))
            case _:
                pass

    async def close(self) -> None:
        """Kill the process, and wait until it is gone."""
        self._end(Cause.CLOSED)
        if self._life is not None:
            await asyncio.wait([self._life])
        else:
            await self._process.wait()

    # --- requests and answers ---------------------------------------------------------------------

    async def _become_ready(self, seconds: float) -> None:
        self._tasks = [
            asyncio.create_task(self._read_answers()),
            asyncio.create_task(self._read_stderr()),
            asyncio.create_task(self._watch()),
        ]
        self._life = asyncio.create_task(self._live())
        ready = await self._exchange(_READY, self._nonce.decode().strip(), seconds)
        if ready.status is not Status.OK:
            self._stderr.append(f"not ready: {ready.error}")
            self._end(Cause.GARBAGE)
            await self._raise_failure()

    async def _exchange(self, request_id: int, line: str, seconds: float) -> Answer:
        if not self.alive:
            await self._raise_failure()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        before, self._newest = self._newest, answer
        self._pending[request_id] = answer
        try:
            await self._send(line)
            if before is not None:  # requests are answered in order: the clock starts at this one's turn
                await asyncio.wait([before])
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            self._end(Cause.HUNG)
            return await self._raise_failure()
        finally:
            del self._pending[request_id]
            if answer.cancelled() or not answer.done():
                self._abandoned.add(request_id)
            else:
                answer.exception()  # who was cancelled before its turn need not hear of a failure

    async def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        # When nobody reads any more, the process is dying: its end answers whoever waits.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._take(line)
        except ValueError:  # longer than the limit, or no answer
            self._end(Cause.GARBAGE)

    def _take(self, line: bytes) -> None:
        """Give a line to whoever waits for it.

        Raises:
            ValueError: it has the nonce but is no answer to anything.
        """
        if not line.startswith(self._nonce):
            self._noise.append(_text(line))
            return
        try:
            answer = decode(line.removeprefix(self._nonce).decode())
            self._deliver(answer)
        except ValueError:
            self._noise.append(_text(line.removeprefix(self._nonce)))
            raise

    def _deliver(self, answer: Answer) -> None:
        waiting = self._pending.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
        elif answer.id in self._abandoned:
            self._abandoned.discard(answer.id)
        else:
            raise ValueError(f"an answer to request {answer.id}, which nobody asked")

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        partial = b""
        while block := await self._process.stderr.read(65536):
            *lines, partial = (partial + block).split(b"\n")
            self._stderr.extend(_text(line) for line in lines[-_KEPT_LINES:])
            partial = partial[-_KEPT_CHARACTERS:]
        if partial:
            self._stderr.append(_text(partial))

    # --- the end ----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            while True:
                family = self._family(process)
                self._memory = _held_by(family)
                self._peak_memory = max(self._peak_memory, self._memory)
                if self._memory > self._memory_limit:
                    self._end(Cause.MEMORY_LIMIT)
                if self._command.process_limit is not None and len(family) > self._command.process_limit:
                    self._end(Cause.PROCESS_LIMIT)
                await asyncio.sleep(_WATCH_SECONDS)

    def _family(self, process: psutil.Process) -> list[psutil.Process]:
        """The processes of it: the embedded Lean is one, a native one has a guard, and what it started."""
        if self._command.kind is Kind.TOOLCHAIN:
            return [process, *process.children(recursive=True)]
        return [process]

    def _end(self, cause: Cause) -> None:
        """Kill the process and its group; the first cause stays."""
        if self._cause is None:
            self._cause = cause
            _kill_group(self.pid)

    async def _live(self) -> None:
        """Wait for the end of the process and tell all who wait for answers."""
        code = await self._process.wait()
        _kill_group(self.pid)
        _live_groups.discard(self.pid)
        reader, errors, memory = self._tasks
        memory.cancel()
        await asyncio.wait([reader, errors], timeout=5)
        for task in (reader, errors):
            task.cancel()
        await self._close_stdin()
        self._failure = self._post_mortem(code)
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self._failure)
        await self._remove_group()

    async def _remove_group(self) -> None:
        """Remove the control group of a guard that was killed, once the last process has left it."""
        if self._command.process_limit is not None:
            for _ in range(_GROUP_ATTEMPTS):
                if remove_group(self.pid):
                    return
                await asyncio.sleep(0.05)

    async def _close_stdin(self) -> None:
        """Close the pipe; what could not be written any more is no news, and asyncio shall not report it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            async with asyncio.timeout(1):
                await self._process.stdin.wait_closed()

    def _post_mortem(self, code: int) -> ProcessFailure:
        self._cause = self._cause or _likely_cause(code)
        report = PostMortem(
            cause=self._cause,
            exit_code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            stderr=tuple(self._stderr),
            noise=tuple(self._noise),
            memory_limit=self._memory_limit,
            peak_memory=self._peak_memory,
        )
        return _FAILURES.get(self._cause, LeanDied)(report)

    async def _raise_failure(self) -> NoReturn:
        assert self._life is not None
        await asyncio.wait([self._life])
        assert self._failure is not None
        raise self._failure


def _held_by(family: Iterable[psutil.Process]) -> int:
    """Bytes held resident."""
    held = 0
    for member in family:
        with suppress(psutil.NoSuchProcess):
            held += member.memory_info().rss
    return held


def _likely_cause(code: int) -> Cause:
    if code == _OUT_OF_MEMORY:
        return Cause.OUT_OF_MEMORY
    if code in (_MEMORY_FAULT, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
        return Cause.MEMORY_FAULT
    return Cause.KILLED if code < 0 else Cause.EXITED


async def _spawn(command: LeanCommand, mounts: Iterable[Mount]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command.tactic_server_argv(mounts),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=command.cwd,
            env=command.env,
            limit=_LINE_LIMIT,
            # A group of its own: Ctrl-C is ours to handle, and the whole family can be killed.
            start_new_session=True,
        )
    except OSError as error:
        raise LeanUnavailable(f"{command.description} cannot be started: {error}") from error


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")[:_KEPT_CHARACTERS]


_live_groups: set[int] = set()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@atexit.register
def _kill_all() -> None:
    for leader in _live_groups:
        _kill_group(leader)
