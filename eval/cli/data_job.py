"""What `prover data` does between its command line and its exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import click

from eval.attempt import Bench
from eval.benchmarks import lean_of
from eval.benchmarks.base import Problem, Split
from eval.benchmarks.library import Library
from eval.benchmarks.library.extract import split_of
from eval.cli.progress import Progress
from eval.cli.tally import Tally
from eval.expert_iteration.harvest import Harvest
from eval.expert_iteration.mutations import Plan, synthetic
from eval.expert_iteration.rounds import Round, collect, synthesize
from eval.records import Attempted
from eval.runs import Run, load_runs
from eval.store import read_trees
from prover.choosing import check_generator
from prover.cli.interrupt import run_interruptibly
from prover.decoder.options import DecoderOptions
from prover.errors import InputError
from prover.lean.toolchain import LeanCommand
from prover.leandojo.benchmark import proofs_of, read_order, read_theorems
from prover.search.best_first import Budget
from prover.training.examples import Corpus, read_corpus
from prover.training.store import StepStore

FINISHED, INTERRUPTED = 0, 130


def collect_rounds(
    path: Path,
    *,
    rounds: int,
    size: int,
    hours: float | None,
    generator: str,
    expansions: int,
    tactics: int,
    seconds: float,
    seed: int,
    workers: int,
    proofs: int,
    decoder: DecoderOptions,
) -> int:
    """Collect proofs, and return the exit code.

    Raises:
        InputError: the input is at fault.
        LeanUnavailable: Lean or the machine is.
    """
    check_generator(generator)
    tally = Tally()
    with Progress(tally) as progress:
        command = lean_of(None, progress.on_stage)
        how = Round(size, generator, Budget(expansions, tactics, seconds), workers, seed, decoder, proofs)
        limit = hours * 3600 if hours else float("inf")

        async def work(store: StepStore, problems: list[Problem]) -> bool:
            await collect(problems, store, command, how, rounds, limit, progress.on_event, progress.on_stage)
            return True

        with StepStore(path, _lean_version(command)) as store:
            finished, _ = run_interruptibly(work(store, Library().problems(Split.TRAIN)))
    if tally.total:
        click.echo(tally.summary())
    click.echo(table(path))
    return FINISHED if finished else INTERRUPTED


def synthesize_theorems(path: Path, *, count: int, proofs: int, workers: int) -> int:
    """Make synthetic theorems and prove them, and return the exit code.

    Raises:
        InputError: the library was not read yet, or the store is at fault.
        LeanUnavailable: Lean or the machine is.
    """
    tally = Tally()
    with Progress(tally) as progress:
        command = lean_of(None, progress.on_stage)
        how = Round(count, "planned", Budget(8, 32, 10.0), workers, proofs=proofs)

        async def work(store: StepStore, problems: list[tuple[Problem, Plan]]) -> bool:
            await synthesize(problems, store, command, how, progress.on_event)
            return True

        corpus = Library().corpus
        with StepStore(path, _lean_version(command)) as store:
            fresh = synthetic(corpus, lambda m: split_of(m) is Split.TRAIN, store.standings())
            finished, _ = run_interruptibly(work(store, list(islice(fresh, count))))
    click.echo(tally.summary())
    click.echo(table(path))
    return FINISHED if finished else INTERRUPTED


def _lean_version(command: LeanCommand) -> str:
    """Ask the Lean that will judge for its version."""

    async def ask() -> str:
        async with Bench(command, "portfolio", Budget(), workers=1, spares=0) as bench:
            return bench.lean

    return asyncio.run(ask())


def add_run(path: Path, folder: Path) -> int:
    """Put a run's attempts into a store, and return how many they are; those that it has are passed over.

    Raises:
        InputError: it is no run of the library's train split, or holds proofs of another Lean.
    """
    (run,) = load_runs([folder])
    if (run.plan.benchmark, run.plan.split) != ("library", Split.TRAIN):
        raise InputError(f"{folder} is a run of {run.plan.benchmark} {run.plan.split}, not of library train")
    problems = {problem.id: problem for problem in Library().problems(Split.TRAIN)}
    with StepStore(path, run.plan.lean) as store:
        return _add(store, run, problems)


def add_corpus(path: Path, file: Path) -> int:
    """Put what was exported into a store, and return how many attempts came with it.

    Raises:
        InputError: it is no corpus, or holds proofs of another Lean.
    """
    corpus = read_corpus(file)
    with StepStore(path, corpus.lean) as store:
        store.add_corpus(corpus)
    return len(corpus.attempts)


def add_source(path: Path, source: Path) -> str:
    """Put a run, a corpus, or the training proofs of LeanDojo's benchmark into a store; say how much it was.

    Raises:
        InputError: it is none of these, or of another Lean than the store.
    """
    if source.is_file():
        return f"{add_corpus(path, source)} attempts"
    if (source / "corpus.jsonl").is_file():
        return f"{add_benchmark(path, source)} proofs"
    return f"{add_run(path, source)} attempts"


def add_benchmark(path: Path, folder: Path) -> int:
    """Put the proofs of LeanDojo's train split (random) into a store, and return how many they are.

    Raises:
        InputError: the benchmark is damaged, or the store holds proofs of another Lean: what people proved
            in their repository has a store of its own.
    """
    theorems = read_theorems(folder, Split.TRAIN)
    proofs = tuple(proofs_of(theorems, read_order(folder)))
    origin = f"LeanDojo, {theorems[0].url} at {theorems[0].commit}" if theorems else "LeanDojo"
    with StepStore(path, origin) as store:
        store.add_corpus(Corpus(proofs, (), origin))
    return len(proofs)


def _add(store: StepStore, run: Run, problems: Mapping[str, Problem]) -> int:
    harvest = Harvest(store, problems, run.plan.generator, run.plan.tactics)
    known, trees = store.attempted(), read_trees(run.folder)
    fresh = [r for r in run.records if (r.problem, run.plan.generator, r.model_hash, r.seed) not in known]
    for record in fresh:
        harvest.keep(Attempted(record, trees.get(record.key), record.tactics))
    return len(fresh)


def table(path: Path) -> str:
    """What a store holds, one thing a line."""
    with StepStore(path) as store:
        counts = {"Lean": store.lean} | {name: f"{count:,}" for name, count in store.counts().items()}
    width = max(map(len, counts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in counts.items())
