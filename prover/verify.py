"""The verdict: a fresh Lean compiles the finished file and holds it against the original.

Nothing that happened during the search counts here. See ``lean_project/TacticServer/Check.lean`` for what is
compared, and the documentation's chapter on soundness for what it has to withstand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prover.errors import InputError, LeanUnavailable
from prover.lean.messages import Answer, CheckRequest, Message, Severity, Source, Status, Verdict
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess, ProcessFailure
from prover.lean_environment import compile_errors, missing_module

CHECK_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Verification:
    """What a fresh Lean found."""

    verdicts: tuple[Verdict, ...]
    messages: tuple[Message, ...]
    #: What is wrong with the file as a whole; "" when nothing is.
    fault: str

    @property
    def accepted(self) -> bool:
        """Nothing is wrong, and there is something that is right."""
        return not self.fault and bool(self.verdicts) and all(v.accepted for v in self.verdicts)

    @property
    def errors(self) -> tuple[Message, ...]:
        return tuple(m for m in self.messages if m.severity is Severity.ERROR)

    def verdict(self, name: str) -> Verdict:
        """The verdict on a declaration; one that has none is refused (success needs positive evidence)."""
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        return Verdict(name, False, "Lean gave no verdict on it", ())


async def verify(
    pool: LeanPool, original: Source, candidate: Source, dependencies: Sequence[Source] = ()
) -> Verification:
    """Check a finished source in a process that has never done anything else.

    Raises:
        InputError: the original itself does not compile.
        LeanUnavailable: Lean cannot be started.
    """
    request = CheckRequest(original, candidate, tuple(dependencies))
    async with _fresh_process(pool) as process:
        try:
            answer = await process.ask(request, CHECK_SECONDS)
        except ProcessFailure as failure:
            return Verification((), (), f"Lean did not survive the file: {failure}")
    if answer.status is Status.MISSING_MODULE:
        raise InputError(missing_module(original.path, answer.error, pool.command))
    if answer.status is Status.BAD_REQUEST and "messages" in answer.body:
        errors = [m for m in answer.messages if m.severity is Severity.ERROR]
        raise InputError(compile_errors(original.path, errors))
    if answer.status is not Status.OK:
        raise LeanUnavailable(f"{original.path}: Lean could not check it: {answer.error}")
    return verification(answer)


def verification(answer: Answer) -> Verification:
    """Read the answer to a check."""
    return Verification(answer.verdicts, answer.messages, answer.error)


async def unused(pool: LeanPool, process: LeanProcess) -> LeanProcess:
    """Exchange a borrowed process until it is one that has never been asked for anything.

    Raises:
        LeanUnavailable: Lean cannot be started.
    """
    while process.used:
        process = await pool.replace(process)
    return process


@asynccontextmanager
async def _fresh_process(pool: LeanPool) -> AsyncIterator[LeanProcess]:
    process = await unused(pool, await pool.acquire())
    try:
        yield process
    finally:
        await pool.release(process)
