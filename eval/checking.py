"""Whether a proof counts: a Lean process that takes no part in any search has to accept it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from eval.benchmarks.base import Problem
from prover.errors import LeanUnavailable
from prover.generators.base import well_formed
from prover.lean.messages import CheckRequest, CheckTheoremRequest, Request, Status
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess, ProcessFailure
from prover.theorem_file import Replacement, TheoremFile
from prover.verify import Verification, unused, verification

CHECK_SECONDS = 120.0
#: A process that imported this often, or holds this share of its memory, is exchanged before the next check.
_MOST_IMPORTS, _FULL = 12, 0.8

_SORRY = re.compile(r"\bsorry\b")


class Checker:
    """A process of a pool that checks one proof after the other, and does nothing else."""

    def __init__(self, pool: LeanPool) -> None:
        self._pool = pool
        self._process: LeanProcess | None = None
        self._turn = asyncio.Lock()

    async def check(self, problem: Problem, proof: tuple[str, ...]) -> str:
        """Return "" when Lean accepts the proof's lines, else why not.

        Raises:
            LeanUnavailable: Lean cannot be started, or fails over the statement itself.
        """
        if reason := well_formed(_block(proof)):
            return reason
        async with self._turn:
            for _ in range(2):
                try:
                    return await self._ask(problem, proof)
                except ProcessFailure as failure:
                    fault = f"Lean did not survive the proof: {failure}"
                    await self._renew()
        return fault

    async def _ask(self, problem: Problem, proof: tuple[str, ...]) -> str:
        process = await self._ready()
        answer = await process.ask(request_of(problem, proof), CHECK_SECONDS)
        if answer.status is not Status.OK:
            raise LeanUnavailable(f"{problem.id}: Lean cannot check its proof: {answer.error}")
        return why_not(verification(answer))

    async def _ready(self) -> LeanProcess:
        """The process, exchanged for a fresh one when it is worn."""
        if self._process is None:
            self._process = await unused(self._pool, await self._pool.acquire())
        process = self._process
        if process.imports >= _MOST_IMPORTS or process.memory_share > _FULL:
            await self._renew()
        return self._process

    async def _renew(self) -> None:
        assert self._process is not None
        self._process = await unused(self._pool, await self._pool.replace(self._process))

    async def close(self) -> None:
        """Give the process back."""
        if self._process is not None:
            await self._pool.release(self._process)
            self._process = None


def why_not(verdict: Verification) -> str:
    """What stands against a proof; "" when nothing does."""
    if verdict.accepted:
        return ""
    reasons = [v.reason for v in verdict.verdicts if not v.accepted]
    errors = [error.text for error in verdict.errors]
    return next(iter([*errors, *reasons]), verdict.fault or "Lean gave no verdict on it")


def request_of(problem: Problem, proof: tuple[str, ...]) -> Request:
    """What to ask in order to have a proof judged."""
    if problem.module is not None:
        return CheckTheoremRequest(problem.module, problem.id, _block(proof))
    source = problem.file()
    candidate = TheoremFile(Path(source.path), with_proof(source.text, proof)).source()
    return CheckRequest(source, candidate, problem.dependencies())


def _block(proof: tuple[str, ...]) -> str:
    """The lines of a proof, indented."""
    return "\n".join(f"  {line}" for line in proof)


def with_proof(text: str, proof: tuple[str, ...]) -> str:
    """Put a proof in place of the last ``sorry`` of a text, which stands for the theorem's proof."""
    last = list(_SORRY.finditer(text))[-1]
    start, end = (len(text[:place].encode()) for place in last.span())
    is_tactic = text[: last.start()].rstrip().endswith("by")
    file = TheoremFile(Path("problem.lean"), text)
    return file.with_proofs([Replacement(start, end, proof, is_tactic)]).raw
