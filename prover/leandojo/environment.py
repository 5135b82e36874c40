"""A theorem of a traced repository under proof in LeanDojo's own ``Dojo``, behind our environment.

A ``Dojo`` is one Lean process at a terminal, which waits for each answer: it has a thread of its own here.
Its states cannot be freed, and are lost with the process; they are made again by their tactics. What LeanDojo
says becomes what we say:

========================  ==================================================================
``TacticState``           :class:`~prover.environment.TacticState`
``ProofFinished``         :class:`~prover.environment.ProofFinished`, a hint as any other
``LeanError``             :class:`~prover.environment.LeanError`
``ProofGivenUp``          :class:`~prover.environment.LeanError`: the tactic says ``sorry``
``DojoTacticTimeoutError``  :class:`~prover.environment.TacticCrash`, ``TIMEOUT``
``DojoCrashError``        the same, ``DIED``, or ``GARBAGE`` where the answer is no JSON
``DojoInitError``         :class:`~prover.errors.LeanUnavailable`
========================  ==================================================================
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from subprocess import SubprocessError
from typing import Any

from prover.environment import (
    CrashKind,
    LeanError,
    Outcome,
    ProofFinished,
    TacticCrash,
    TacticResult,
    TacticState,
)
from prover.errors import InputError, LeanUnavailable
from prover.leandojo.goals import goals_of
from prover.leandojo.package import lean_dojo, traced_folder

#: Seconds that a tactic may take, and that Lean may take to get to the theorem.
TACTIC_SECONDS = 12.0
OPEN_SECONDS = 600.0
#: Bytes of a line that a terminal takes (Linux: 4,096 with the line's end).
_LINE = 4095
#: Opening a Dojo changes the process's working folder for a moment.
_OPENING = threading.Lock()

Path = tuple[str, ...]


class DojoEnvironment:
    """Implements :class:`prover.environment.Environment` with one worker. Made by :func:`opened_theorem`."""

    def __init__(self, theorem: Any, known: Collection[str], seconds: float) -> None:
        self._package = lean_dojo()
        self._theorem = theorem
        self._known = frozenset(known)
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dojo")
        self._dojo: Any = None
        #: LeanDojo's states in the present process, by the tactics that lead there.
        self._states: dict[Path, Any] = {}
        self._root: TacticState | None = None
        self._is_closed = False
        #: Processes that were lost to a tactic.
        self.crashes = 0

    @property
    def workers(self) -> int:
        return 1

    @property
    def root(self) -> TacticState:
        assert self._root is not None, "it is opened by opened_theorem"
        return self._root

    async def open(self) -> None:
        """Start Lean.

        Raises:
            InputError: the repository is not traced, or has no such theorem.
            LeanUnavailable: Lean does not start, or does not come to the theorem.
        """
        await self._in_thread(self._open)
        self._root = self._ours(self._states[()], ())

    async def run_tac(self, state: TacticState, tactic: str) -> Outcome:
        """Run one tactic.

        Raises:
            LeanUnavailable: Lean cannot be started any more.
        """
        outcome: Outcome = await self._in_thread(self._run, state.path, tactic)
        return outcome

    async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
        """Run each tactic on the same state, in order, up to the one that finishes the proof.

        Raises:
            LeanUnavailable: Lean cannot be started any more.
        """
        outcomes: list[Outcome] = []
        for tactic in tactics:
            outcomes.append(await self.run_tac(state, tactic))
            if isinstance(outcomes[-1].result, ProofFinished):
                break
        return outcomes

    async def drop(self, states: Sequence[TacticState]) -> None:
        """Do nothing: LeanDojo keeps its states for as long as the process lives."""

    async def close(self) -> None:
        """End the Lean process, whatever it is at."""
        self._is_closed = True
        self._lose()  # whoever waits for an answer gets the end of the file
        await asyncio.to_thread(self._thread.shutdown)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # --- in the thread ------------------------------------------------------------------------------

    def _run(self, path: Path, tactic: str) -> Outcome:
        start = time.monotonic()
        result = self._result(path, tactic)
        seconds = time.monotonic() - start
        return Outcome(result, seconds, seconds)

    def _result(self, path: Path, tactic: str) -> TacticResult:
        request = json.dumps({"sid": 10**6, "cmd": tactic}, ensure_ascii=False)
        if len(request.encode()) > _LINE:
            return LeanError(f"the tactic is longer than the {_LINE} bytes that LeanDojo's terminal takes")
        crash = self._attempt(path, tactic)
        if isinstance(crash, TacticCrash) and crash.kind is not CrashKind.TIMEOUT and not self._is_closed:
            crash = self._attempt(path, tactic)  # it may have been the process's fault
        return crash

    def _attempt(self, path: Path, tactic: str) -> TacticResult:
        before = self._state_at(path)
        try:
            return self._mapped(self._dojo.run_tac(before, tactic), (*path, tactic))
        except self._package.DojoTacticTimeoutError:
            # Its answer may still come, and would be taken for that of the next tactic.
            crash = TacticCrash(CrashKind.TIMEOUT, f"no answer within {self._seconds:.0f} s")
        except self._package.DojoCrashError as error:
            kind = CrashKind.GARBAGE if "Invalid JSON" in str(error) else CrashKind.DIED
            crash = TacticCrash(kind, f"LeanDojo: {error}")
        except (AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
            crash = TacticCrash(CrashKind.GARBAGE, f"LeanDojo cannot read the answer: {error!r}")
        except OSError as error:  # the terminal is gone
            crash = TacticCrash(CrashKind.DIED, f"LeanDojo: {error}")
        self._lose()
        self.crashes += 1
        return crash

    def _mapped(self, result: Any, path: Path) -> TacticResult:
        if isinstance(result, self._package.TacticState):
            self._states[path] = result
            return self._ours(result, path)
        if isinstance(result, self._package.ProofFinished):
            return ProofFinished(path)
        if isinstance(result, self._package.LeanError):
            return LeanError(result.error)
        return LeanError("the tactic gives up: the proof contains sorry")

    def _ours(self, state: Any, path: Path) -> TacticState:
        return TacticState(goals_of(state.pp, self._known), path)

    def _state_at(self, path: Path) -> Any:
        """LeanDojo's state behind some tactics, run again as far as need be.

        Raises:
            LeanUnavailable: Lean does not start, or the tactics do not lead there any more.
        """
        if self._is_closed:
            raise LeanUnavailable("the theorem is closed")
        if self._dojo is None:
            self._open()
        known = next(length for length in range(len(path), -1, -1) if path[:length] in self._states)
        for length in range(known, len(path)):
            result = self._attempt(path[:length], path[length])
            if not isinstance(result, TacticState):
                raise LeanUnavailable(f"`{path[length]}` did something else when it was run again: {result}")
        return self._states[path]

    def _open(self) -> None:
        package = self._package
        traced_folder(self._theorem)
        dojo = package.Dojo(self._theorem, timeout=OPEN_SECONDS, build_deps=False)
        try:
            with _OPENING:
                _, state = dojo.__enter__()
        except (
            *(package.DojoInitError, package.DojoCrashError, _spawn_error()),
            *(AssertionError, SubprocessError, ValueError, OSError),
        ) as error:
            _end(dojo)
            raise _at_opening(self._theorem, error) from error
        dojo.proc.timeout = self._seconds
        self._dojo, self._states = dojo, {(): state}

    def _lose(self) -> None:
        """End the process, and forget its states."""
        dojo, self._dojo = self._dojo, None
        self._states = {}
        if dojo is not None:
            _end(dojo)


def _end(dojo: Any) -> None:
    """Leave a Dojo, however far it was entered: its process ends, its file is removed."""
    from lean_dojo.interaction.dojo import kill_descendants

    if hasattr(dojo, "proc"):
        kill_descendants(dojo.proc.pid)
        with suppress(OSError):
            dojo.proc.close(force=True)
    if hasattr(dojo, "modified_file"):
        with suppress(OSError):
            dojo.modified_file.__exit__(None, None, None)


def _spawn_error() -> type[Exception]:
    from pexpect import ExceptionPexpect

    return ExceptionPexpect


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _at_opening(theorem: Any, error: BaseException) -> Exception:
    """What an error of LeanDojo's at the opening of a theorem means."""
    text = _first_line(error)
    if isinstance(error, lean_dojo().DojoCrashError):
        return LeanUnavailable(f"{theorem.full_name}: Lean died at its start ({error})")
    if isinstance(error, _spawn_error()):
        return LeanUnavailable(f"LeanDojo cannot start Lean: {text}")
    if "Failed to locate the theorem" in text or "`where` keyword" in text:
        return InputError(f"{theorem.file_path} in {theorem.repo.url}: {text}")
    if isinstance(error, FileNotFoundError) or "*.ast.json" in text or "Lean4Repl.lean" in text:
        return InputError(
            f"{theorem.repo.url} was not traced with LeanDojo 4, or {theorem.file_path} was not: {text}. "
            "Trace it with lean_dojo.trace(LeanGitRepo(url, commit))."
        )
    return LeanUnavailable(f"{theorem.full_name}: LeanDojo did not get Lean to the theorem: {text}")


@asynccontextmanager
async def opened_theorem(
    theorem: Any, known: Collection[str] = (), seconds: float = TACTIC_SECONDS
) -> AsyncIterator[DojoEnvironment]:
    """Open a theorem; at the end its Lean is gone.

    Args:
        theorem: a ``lean_dojo.Theorem``, see :func:`prover.leandojo.package.theorem_of`.
        known: the library's constants, see :func:`prover.leandojo.goals.goals_of`.
        seconds: that a tactic may take.

    Raises:
        InputError: LeanDojo is not installed, the repository is not traced, or has no such theorem.
        LeanUnavailable: Lean does not start, or does not come to the theorem.
    """
    environment = DojoEnvironment(theorem, known, seconds)
    try:
        await environment.open()
        yield environment
    finally:
        await environment.close()
