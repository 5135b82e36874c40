"""A pool of Lean processes with warm spares: a process that died or hung is replaced at once.

At most ``size`` processes are in the hands of callers, and at most ``size + spares`` exist. The spares are
started one at a time, once all workers are up, so that they do not slow down the start of the work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from prover.errors import LeanUnavailable
from prover.lean.process import LeanProcess, ProcessFailure
from prover.lean.toolchain import LeanCommand, Mount

#: So many starts in a row may fail before the pool gives up.
_FAILED_STARTS = 3
#: A process that holds more than this share of its memory limit is retired when it comes back.
_RETIRE_SHARE = 0.85


class LeanPool:
    """Processes to borrow. To be used with ``async with``; leaving it kills them all."""

    def __init__(
        self,
        command: LeanCommand,
        size: int,
        spares: int = 1,
        memory_limit: int | None = None,
        retire_after_imports: int = 10,
        mounts: Iterable[Mount] = (),
    ) -> None:
        """Make a pool; nothing starts before ``async with``.

        Args:
            size: how many processes may be borrowed at once.
            spares: how many more are kept warm.
            memory_limit: bytes for each; None is the command's own.
            retire_after_imports: a process that imported so often is replaced when it comes back, because
                Lean never frees what it imported.
        """
        if size < 1 or spares < 0:
            raise ValueError(f"a pool of {size} processes and {spares} spares")
        self._command = command
        self._size = size
        self._spares = spares
        self._memory_limit = memory_limit or command.memory_limit
        self._retire_after_imports = retire_after_imports
        self._mounts = tuple(mounts)
        self._ready: deque[LeanProcess] = deque()
        self._borrowed: set[LeanProcess] = set()
        #: Callers of :meth:`replace` that wait: they keep their seat.
        self._owed = 0
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._failed_starts = 0
        self._failure: LeanUnavailable | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._start_missing()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, *self._ending, return_exceptions=True)
        await asyncio.gather(*(process.close() for process in [*self._ready, *self._borrowed]))
        self._ready.clear()
        self._borrowed.clear()
        self._failure = LeanUnavailable("The pool of Lean processes is closed.")
        await self._notify()  # nobody waits for ever

    @property
    def command(self) -> LeanCommand:
        """How its processes are started."""
        return self._command

    @property
    def size(self) -> int:
        """How many processes may be borrowed at once."""
        return self._size

    @property
    def failure(self) -> LeanUnavailable | None:
        """Why no process can be started any more; None while they can."""
        return self._failure

    async def acquire(self) -> LeanProcess:
        """Borrow a process, waiting until there is one.

        Raises:
            LeanUnavailable: Lean cannot be started, and no process is left.
        """
        return await self._take(lambda: len(self._borrowed) + self._owed < self._size)

    async def release(self, process: LeanProcess) -> None:
        """Give a process back, in whatever condition."""
        self._borrowed.discard(process)
        if process.alive and not process.is_busy and not self._worn_out(process):
            self._ready.append(process)
        else:
            self._retire(process)
        await self._notify()

    async def replace(self, process: LeanProcess) -> LeanProcess:
        """Give back a process that failed or is in an unknown state, and borrow another at once.

        Raises:
            LeanUnavailable: Lean cannot be started any more, and no process is left.
        """
        self._borrowed.discard(process)
        self._owed += 1
        self._retire(process)
        try:
            return await self._take(lambda: True)
        finally:
            self._owed -= 1
            await self._notify()

    # --- taking -----------------------------------------------------------------------------------

    async def _take(self, seat_is_free: Callable[[], bool]) -> LeanProcess:
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: (self._ready and seat_is_free()) or self._is_hopeless())
                if not self._ready:
                    assert self._failure is not None
                    raise self._failure
                process = self._ready.pop()  # the last one back: its caches are warm
                if process.alive:
                    self._borrowed.add(process)
                    return process
                self._retire(process)  # it died while nobody looked

    def _is_hopeless(self) -> bool:
        return self._failure is not None and not (self._ready or self._borrowed or self._starting)

    def _worn_out(self, process: LeanProcess) -> bool:
        return (
            process.imports >= self._retire_after_imports
            or process.memory > _RETIRE_SHARE * self._memory_limit
        )

    def _retire(self, process: LeanProcess) -> None:
        """Kill a process in the background; it makes room for a new one only when it is gone."""
        task = asyncio.create_task(process.close())
        self._ending.add(task)
        task.add_done_callback(self._retired)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        self._start_missing()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- starting ---------------------------------------------------------------------------------

    def _population(self) -> int:
        return len(self._ready) + len(self._borrowed) + len(self._starting) + len(self._ending)

    def _start_missing(self) -> None:
        """Start workers side by side, and spares one by one when all workers are up."""
        while not self._closed and self._failure is None:
            population = self._population()
            is_worker = population < self._size
            if population >= self._size + self._spares or (self._starting and not is_worker):
                return
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        """Start one process and put it with the others that are ready."""
        try:
            process = await LeanProcess.start(self._command, self._mounts, self._memory_limit)
        except (ProcessFailure, LeanUnavailable) as error:
            self._note_failed_start(error)
        else:
            self._failed_starts = 0
            self._ready.appendleft(process)
        if (task := asyncio.current_task()) is not None:
            self._starting.discard(task)
        self._start_missing()
        await self._notify()

    def _note_failed_start(self, error: ProcessFailure | LeanUnavailable) -> None:
        self._failed_starts += 1
        if isinstance(error, LeanUnavailable):
            self._failure = error
        elif self._failed_starts >= _FAILED_STARTS:
            started = f"{self._command.description} failed to start {self._failed_starts} times in a row."
            self._failure = LeanUnavailable(f"{started}\n{error}")
