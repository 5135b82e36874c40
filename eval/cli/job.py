"""What `prover eval run` does between its command line and its exit code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from eval.attempt import Bench
from eval.benchmarks import lean_of, load_benchmark
from eval.benchmarks.base import Benchmark, Problem, Split, draw
from eval.cli.arguments import Arguments
from eval.cli.progress import Progress
from eval.cli.tally import Tally
from eval.lessons import Lesson, lessons_of
from eval.over_ray import IdentifiedBench, RayBench
from eval.ray_cluster import connected
from eval.records import Plan
from eval.runner import run
from eval.store import RunStore
from prover.choosing import check_generator, has_decoder, learns
from prover.cli.interrupt import run_interruptibly
from prover.cli.lean_options import tell_warnings
from prover.decoder.options import DecoderOptions
from prover.errors import InputError
from prover.search.best_first import Budget

FINISHED, INTERRUPTED = 0, 130


def evaluate(given: Arguments) -> int:
    """Do what the command line asks for, and return the exit code.

    Raises:
        InputError: the input is at fault.
        LeanUnavailable: Lean or the machine is.
    """
    check_generator(given.generator)
    if (given.online or given.experience) and not learns(given.generator, given.decoder):
        raise InputError(f"{given.generator} does not learn: leave out --online and --experience")
    benchmark = load_benchmark(given.benchmark, given.statements, given.mathlib)
    problems = chosen(benchmark.problems(Split(given.split)), given.only, given.limit, given.sample)
    tally = Tally()
    with _cluster(given), Progress(tally) as progress:
        run_interruptibly(_evaluate(given, benchmark, problems, _bench(given, progress), progress))
    return _conclude(tally)


async def _evaluate(
    given: Arguments,
    benchmark: Benchmark,
    problems: Sequence[Problem],
    bench_to_be: AbstractAsyncContextManager[IdentifiedBench],
    progress: Progress,
) -> None:
    progress.on_stage("Starting Lean")
    async with bench_to_be as bench:
        with RunStore(given.out, plan_of(given, benchmark, problems, bench)) as store:
            await run(problems, given.seeds, bench, store, progress.on_event, online=given.online)


def _conclude(tally: Tally) -> int:
    """Say how it stands; it was interrupted when not all is done."""
    if tally.total:
        click.echo(tally.summary())
    if tally.total and tally.done == tally.total:
        return FINISHED
    click.echo("Interrupted: run the same command again to go on.", err=True)
    return INTERRUPTED


# --- what is to be done -----------------------------------------------------------------------------


def chosen(
    problems: Sequence[Problem], only: Sequence[str], limit: int | None, sample: int | None = None
) -> list[Problem]:
    """The problems asked for, by position.

    Raises:
        InputError: one that is named is not there, or there is none at all.
    """
    unknown = set(only) - {problem.id for problem in problems}
    if unknown:
        raise InputError(f"this split has no theorem {', '.join(sorted(unknown))}")
    wanted = [problem for problem in problems if not only or problem.id in only]
    if not wanted:
        raise InputError("this split has no theorems")
    drawn = sorted(wanted, key=lambda problem: draw(problem.id))[:sample]
    return sorted(drawn, key=lambda problem: problem.position)[:limit]


def plan_of(
    given: Arguments, benchmark: Benchmark, problems: Sequence[Problem], bench: IdentifiedBench
) -> Plan:
    """The settings that a run keeps from its first start to its last."""
    return Plan(
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        split=given.split,
        generator=given.generator,
        decoder=given.decoder.description if has_decoder(given.generator) else "",
        online=given.online,
        seeds=given.seeds,
        expansions=given.expansions,
        tactics=given.tactics,
        seconds=given.seconds,
        length_exponent=given.length_exponent,
        problems=len(problems),
        problems_hash=problems_hash(problems),
        model_hash=bench.model_hash,
        memory_hash=bench.memory_hash,
        lean=bench.lean,
    )


def problems_hash(problems: Sequence[Problem]) -> str:
    """16 hex digits that stand for these problems in this order."""
    lines = "".join(f"{problem.id}\0{problem.statement_hash}\n" for problem in problems)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


# --- where it is done -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BenchRecipe:
    """Makes a bench with one worker on another machine, with the Lean of that machine."""

    mathlib: Path | None
    generator: str
    budget: Budget
    lessons: tuple[Lesson, ...]
    decoder: DecoderOptions
    sandbox: bool
    length_exponent: float

    def __call__(self) -> Bench:
        command = lean_of(self.mathlib, sandbox=self.sandbox)
        return Bench(
            command,
            self.generator,
            self.budget,
            workers=1,
            spares=0,
            lessons=self.lessons,
            decoder=self.decoder,
            length_exponent=self.length_exponent,
        )


def _cluster(given: Arguments) -> AbstractContextManager[None]:
    return connected(given.ray) if given.ray else nullcontext()


def _bench(given: Arguments, progress: Progress) -> AbstractAsyncContextManager[IdentifiedBench]:
    """The bench to enter; Lean is installed now, while Ctrl-C still ends a download."""
    budget = Budget(given.expansions, given.tactics, given.seconds)
    lessons = lessons_of(given.experience, given.benchmark)
    if given.ray:
        recipe = BenchRecipe(
            given.mathlib,
            given.generator,
            budget,
            lessons,
            given.decoder,
            given.sandbox,
            given.length_exponent,
        )
        return RayBench(recipe, given.workers)
    command = lean_of(given.mathlib, progress.on_stage, given.sandbox)
    tell_warnings([command])
    workers = given.workers or 1
    return Bench(
        command,
        given.generator,
        budget,
        workers,
        lessons=lessons,
        report=progress.on_stage,
        decoder=given.decoder,
        length_exponent=given.length_exponent,
    )
