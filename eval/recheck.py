"""Checks every proof of a run again, many in one fresh Lean process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval.benchmarks.base import Problem
from eval.checking import Checker
from eval.records import Record, Status
from prover.errors import InputError
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What a fresh Lean says about the proof of a record."""

    record: Record
    #: Why it is refused; "" when it is accepted.
    reason: str


async def recheck(
    command: LeanCommand,
    records: Sequence[Record],
    problems: Sequence[Problem],
    on_checked: Callable[[Rechecked], None],
) -> list[Rechecked]:
    """Check the proofs of all records that have one, in the order of their modules.

    Raises:
        InputError: a record's problem is not among the problems, or is another by now.
        LeanUnavailable: Lean cannot be started, or fails over a statement.
    """
    known = {problem.id: problem for problem in problems}
    proved = sorted((r for r in records if r.status is Status.PROVED), key=lambda r: (r.position, r.problem))
    asked = [(record, _problem(record, known)) for record in proved]
    checked: list[Rechecked] = []
    async with LeanPool(command, 1, spares=0) as pool:
        checker = Checker(pool)
        for record, problem in asked:
            reason = await checker.check(problem, record.proof or ())
            checked.append(Rechecked(record, reason))
            on_checked(checked[-1])
        await checker.close()
    return checked


def _problem(record: Record, known: Mapping[str, Problem]) -> Problem:
    problem = known.get(record.problem)
    if problem is None or problem.statement_hash != record.statement_hash:
        raise InputError(
            f"{record.problem} is not what the run proved: give the same statements as for the run"
        )
    return problem
