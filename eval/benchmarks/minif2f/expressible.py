"""Which statements a Lean can express: those that elaborate under the header they are given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from eval.benchmarks.base import Problem
from prover.errors import LeanUnavailable
from prover.lean.messages import Answer, OpenRequest, Severity, Status
from prover.lean.pool import LeanPool
from prover.lean.process import ProcessFailure

#: Elaborating a header and a statement.
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Expressibility:
    """Whether a statement elaborates, and if not, Lean's first error."""

    problem: Problem
    #: "" for a statement that elaborates.
    error: str

    @property
    def reason(self) -> str:
        """The first line of the error."""
        return self.error.partition("\n")[0]


async def expressible(pool: LeanPool, problems: Iterable[Problem]) -> AsyncIterator[Expressibility]:
    """Open each statement in turn.

    Raises:
        LeanUnavailable: Lean cannot be started, or fails on a statement.
    """
    process = await pool.acquire()
    try:
        for problem in problems:
            request = OpenRequest(problem.file(), problem.dependencies())
            yield Expressibility(problem, first_error(await process.ask(request, _SECONDS)))
    except ProcessFailure as error:
        raise LeanUnavailable(f"Lean failed on {problem.id}: {error}") from error
    finally:
        await pool.release(process)


def first_error(answer: Answer) -> str:
    """What kept an opened source from elaborating; "" if nothing did."""
    if answer.status is not Status.OK:
        return answer.error or str(answer.status)
    return next((m.text for m in answer.messages if m.severity is Severity.ERROR), "")


def by_reason(found: Sequence[Expressibility]) -> list[tuple[str, list[str]]]:
    """The names of what is not expressible by the reason, the most frequent first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in found:
        if one.error:
            groups[one.reason].append(one.problem.id)
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
