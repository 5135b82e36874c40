"""A bench that follows a script instead of asking Lean, and a run over it as a program of its own.

    python -m tests.eval.scripted RUN SECONDS    # a run of 24 attempts that take SECONDS each

What comes of an attempt follows from the problem, the seed, and what was learned from earlier places, so that
two runs over the same problems can be held against each other.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from eval.benchmarks.base import Problem, Split
from eval.records import Attempted, Plan, Record, Status, Step
from eval.runner import run
from eval.store import RunStore
from prover.cli.interrupt import run_interruptibly

SEEDS = (0, 1)
PLAN = Plan(
    benchmark="scripted",
    benchmark_version="1",
    split="valid",
    generator="scripted",
    online=True,
    seeds=SEEDS,
    expansions=10,
    tactics=100,
    seconds=1.0,
    problems=0,
    problems_hash="",
    model_hash="",
    memory_hash="",
    lean="none",
)


def problem(number: int, module: str | None = None) -> Problem:
    return Problem(f"t{number}", "scripted", "1", Split.VALID, module, "", "", (), "", position=number)


def record(number: int, seed: int = 0, status: Status = Status.PROVED, learned: int = 0) -> Record:
    """A record as an attempt would give it; ``learned`` is shown in its message."""
    return Record(
        problem=f"t{number}",
        seed=seed,
        split="valid",
        tags=("category:α",),
        position=number,
        status=status,
        proof=("omega", "simp") if status is Status.PROVED else None,
        steps=(Step(("⊢ p",), "omega"),) if status is Status.PROVED else (),
        ended="proved" if status is Status.PROVED else "exhausted",
        error_kind="",
        message=f"{learned} learned",
        expansions=1,
        tactics=2,
        errors=0,
        crashes=0,
        refused=0,
        duplicates=0,
        lean_seconds=0.5,
        model_seconds=0.25,
        open_seconds=0.0,
        check_seconds=0.25,
        wall_seconds=1.0,
        search_seconds=0.75,
        tries=1,
        statement_hash="",
        model_hash="",
        memory_hash="",
        lean="none",
        commit="",
        machine="",
    )


@dataclass
class ScriptedBench:
    """Proves two thirds of the problems."""

    workers: int = 1
    #: That an attempt takes.
    seconds: float = 0.0
    #: Positions of the proofs that it was told.
    learned: list[int] = field(default_factory=list)
    #: In the order in which they were begun.
    attempts: list[tuple[str, int]] = field(default_factory=list)
    lean: str = "none"
    model_hash: str = ""
    memory_hash: str = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        self.attempts.append((problem.id, seed))
        await asyncio.sleep(self.seconds)
        status = Status.NOT_PROVED if problem.position % 3 == 2 else Status.PROVED
        earlier = sum(position < problem.position for position in self.learned)
        found = record(problem.position, seed, status, earlier)
        return Attempted(found, {"nodes": [problem.id, seed]})

    def learn(self, record: Record) -> None:
        self.learned.append(record.position)


def main(folder: str, seconds: str) -> int:
    """Make a run; return the exit code of `prover eval run`."""

    async def work() -> bool:
        with RunStore(Path(folder), PLAN) as store:
            bench = ScriptedBench(seconds=float(seconds))
            problems = [problem(number) for number in range(12)]
            await run(problems, SEEDS, bench, store, lambda event: None, online=True)
            return True

    finished, _ = run_interruptibly(work())
    return 0 if finished else 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
