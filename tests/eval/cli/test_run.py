"""`prover eval run` from its command line to files, output and exit code, with a scripted bench behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eval.benchmarks.base import Problem, Split
from eval.cli import job
from eval.cli.main import main
from eval.records import Status
from eval.store import read_plan, read_records
from prover.cli.main import main as prover_main
from prover.decoder.completion import Decoding
from prover.decoder.options import DecoderOptions
from prover.errors import InputError, LeanUnavailable
from prover.lean.toolchain import Kind, LeanCommand
from prover.search.best_first import Budget
from tests.eval.scripted import Attempted, ScriptedBench, problem

COMMAND = LeanCommand(Kind.TOOLCHAIN, (), "a Lean", 1, warnings=("this Lean is strange",))


class FakeBenchmark:
    name, version = "library", "1"

    def problems(self, split: Split) -> list[Problem]:
        return [problem(number) for number in (2, 0, 1)] if split is Split.VALID else []


class FakeBench(ScriptedBench):
    """Takes what a bench takes, and does something odd at an attempt if asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.given: tuple[Any, ...] = ()
        self.lessons: tuple[Any, ...] = ()
        self.decoder: Any = None
        self.at: int | None = None
        self.odd: Callable[[], None] = lambda: None

    def __call__(
        self, command: str, generator: str, budget: Budget, workers: int, *, decoder: Any, **given: Any
    ) -> FakeBench:
        self.decoder, self.lessons = decoder, given["lessons"]
        self.given = (command, generator, budget, workers)
        self.workers = workers
        return self

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        if len(self.attempts) == self.at:
            self.odd()
            await asyncio.sleep(0.01)
        return await super().attempt(problem, seed)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> FakeBench:
    fake = FakeBench()
    monkeypatch.setattr(job, "load_benchmark", lambda name, statements, mathlib: FakeBenchmark())
    monkeypatch.setattr(job, "lean_of", lambda mathlib, progress, sandbox: COMMAND)
    monkeypatch.setattr(job, "Bench", fake)
    return fake


def run(folder: Path, *arguments: str) -> Result:
    command = ["run", "library", "--out", str(folder), *arguments]
    result = CliRunner().invoke(main, command)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ids(folder: Path) -> list[tuple[str, int]]:
    return [one.key for one in read_records(folder)]


# --- a run ------------------------------------------------------------------------------------------


def test_a_run(bench: FakeBench, tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "2 of 3 proved (66.7%): 2 proved, 1 not proved\n" in result.stdout
    assert "time: Lean 7" in result.stdout and "rate: 3 in 0 s" in result.stdout
    assert result.stderr.startswith(
        "prover: warning: this Lean is strange\nStarting Lean\n0 of 3 done, 0 proved\n"
    )
    assert ids(tmp_path) == [("t0", 0), ("t1", 0), ("t2", 0)]
    plan = read_plan(tmp_path)
    assert (plan.benchmark, plan.split, plan.generator, plan.online) == (
        "library",
        "valid",
        "portfolio",
        False,
    )
    assert bench.given == (COMMAND, "portfolio", Budget(100, 100_000, 60.0), 1)
    assert bench.learned == []


def test_options_reach_the_bench_and_the_plan(bench: FakeBench, tmp_path: Path) -> None:
    budget = ["--expansions", "5", "--tactics", "6", "--seconds", "7.5", "--workers", "2"]
    run(tmp_path, *budget, "--generator", "portfolio+knn", "--online", "--seeds", "3,1,3", "--limit", "2")
    assert bench.given == (COMMAND, "portfolio+knn", Budget(5, 6, 7.5), 2)
    plan = read_plan(tmp_path)
    assert (plan.expansions, plan.tactics, plan.seconds, plan.seeds) == (5, 6, 7.5, (3, 1))
    assert sorted(ids(tmp_path)) == [("t0", 1), ("t0", 3), ("t1", 1), ("t1", 3)]
    assert sorted(bench.learned) == [0, 0, 1, 1] and plan.online


def test_the_decoder_is_chosen_and_stands_in_the_plan(bench: FakeBench, tmp_path: Path) -> None:
    run(tmp_path / "one")
    assert bench.decoder == DecoderOptions() and read_plan(tmp_path / "one").decoder == ""
    chosen = ["--model", "folder", "--prompt", "goal", "--samples", "8", "--decoding", "sample"]
    run(tmp_path / "two", "--generator", "portfolio+decoder", *chosen, "--temperature", "1.5")
    assert bench.decoder == DecoderOptions("folder", "goal", 8, Decoding.SAMPLE, 1.5)
    assert read_plan(tmp_path / "two").decoder == "folder, goal, 8 a state, sample, temperature 1.5"


def test_passes_are_seeds(bench: FakeBench, tmp_path: Path) -> None:
    run(tmp_path, "--passes", "2", "--only", "t2", "--only", "t0")
    assert ids(tmp_path) == [("t0", 0), ("t0", 1), ("t2", 0), ("t2", 1)]


def test_a_finished_run_has_nothing_left_to_do(bench: FakeBench, tmp_path: Path) -> None:
    run(tmp_path)
    again = run(tmp_path)
    assert again.exit_code == 0 and len(bench.attempts) == 3
    assert again.stdout == "2 of 3 proved (66.7%): 2 proved, 1 not proved\n"


# --- what can come between --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_go_on(bench: FakeBench, tmp_path: Path, number: int) -> None:
    bench.at, bench.odd = 1, lambda: os.kill(os.getpid(), number)
    first = run(tmp_path)
    assert first.exit_code == 130
    assert "run the same command again to go on" in first.stderr
    assert "1 of 1 proved" in first.stdout
    assert ids(tmp_path) == [("t0", 0)]
    bench.at = None
    assert run(tmp_path).exit_code == 0
    assert ids(tmp_path) == [("t0", 0), ("t1", 0), ("t2", 0)]


def test_lean_at_fault_keeps_what_is_done(bench: FakeBench, tmp_path: Path) -> None:
    def fail() -> None:
        raise LeanUnavailable("no Node")

    bench.at, bench.odd = 2, fail
    result = run(tmp_path)
    assert result.exit_code == 3 and result.stderr.endswith("prover: no Node\n")
    assert ids(tmp_path) == [("t0", 0), ("t1", 0)]


def test_an_interrupt_before_there_is_a_loop(
    bench: FakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(mathlib: Path | None, progress: object, sandbox: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "lean_of", interrupted)
    result = run(tmp_path)
    assert result.exit_code == 130 and "Interrupted" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seeds", "a"], "no list of numbers"),
        (["--seeds", "0", "--passes", "2"], "give one of them"),
        (["--passes", "0"], "--passes"),
        (["--seconds", "0"], "--seconds"),
        (["--split", "all"], "--split"),
        (["--split", "test"], "no theorems"),
        (["--generator", "oracle"], "no generator 'oracle'"),
        (["--generator", "portfolio", "--online"], "portfolio does not learn"),
        (["--generator", "portfolio", "--experience", "x"], "portfolio does not learn"),
        (["--generator", "knn", "--experience", "nowhere"], "not the folder of a run"),
        (["--only", "t9", "--only", "t0"], "no theorem t9"),
        (["--ray", "127.0.0.1:1"], "no Ray cluster"),
    ],
)
def test_wrong_input_is_told(bench: FakeBench, tmp_path: Path, arguments: list[str], text: str) -> None:
    result = run(tmp_path / "run", *arguments)
    assert result.exit_code == 2 and text in result.stderr
    assert bench.attempts == [] and not (tmp_path / "run").exists()


def test_the_proofs_of_another_run_are_taught_first(bench: FakeBench, tmp_path: Path) -> None:
    run(tmp_path / "first")
    taught = [r for r in read_records(tmp_path / "first") if r.status is Status.PROVED and r.steps]
    result = run(tmp_path / "second", "--generator", "knn", "--experience", str(tmp_path / "first"))
    assert result.exit_code == 0 and taught
    assert [(lesson.position, len(lesson.steps)) for lesson in bench.lessons] == [
        (record.position, len(record.steps)) for record in taught
    ]


def test_other_settings_are_another_run(bench: FakeBench, tmp_path: Path) -> None:
    run(tmp_path)
    result = run(tmp_path, "--expansions", "7", "--only", "t1")
    assert result.exit_code == 2 and "expansions was 100 and is 7; problems was 3 and is 1" in result.stderr
    assert len(bench.attempts) == 3


# --- benchmarks and their Lean ----------------------------------------------------------------------


def test_minif2f_needs_its_statements(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "minif2f", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "give --statements" in result.stderr


def test_library_needs_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "library", "--out", "run", "--mathlib", str(tmp_path)])
    assert result.exit_code == 2 and "are for minif2f" in result.stderr


def test_mathlib_is_a_lake_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eval.benchmarks import lean_of

    with pytest.raises(InputError, match="no Lake project"):
        lean_of(tmp_path)
    (tmp_path / "lakefile.toml").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs `lake`"):
        lean_of(tmp_path)
    (tmp_path / "lake").write_text("#!/bin/sh\necho 'Lean (version 4.28.0, Release)'\n")
    (tmp_path / "lake").chmod(0o755)
    assert lean_of(tmp_path).cwd == tmp_path


# --- how it is found --------------------------------------------------------------------------------


def test_prover_has_it_as_a_command() -> None:
    help_text = CliRunner().invoke(prover_main, ["--help"]).stdout
    assert "doctor" in help_text and "eval " in help_text
    result = CliRunner().invoke(prover_main, ["eval", "run", "--help"])
    assert result.exit_code == 0 and "BENCHMARK" in result.stdout
    assert CliRunner().invoke(prover_main, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_it_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "eval", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage: python -m eval" in text
    assert all(name in text for name in ("run", "report", "compare", "verify"))


@pytest.mark.parametrize("arguments", [["--help"], ["eval", "--help"], ["eval", "run", "--help"]])
def test_help_does_not_wait_for_what_only_the_work_needs(arguments: list[str]) -> None:
    code = (
        "import sys; from prover.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"rich", "psutil", "numpy", "ray", "plotly", "eval.attempt", "eval.cli.job"}
    assert not heavy & set(loaded.splitlines()[-1].split())


def test_a_sample_is_always_the_same_and_part_of_a_larger_one() -> None:
    problems = [problem(number) for number in range(50)]
    few, more = (job.chosen(problems, (), None, size) for size in (10, 20))
    assert len(few) == 10 and set(few) < set(more)
    assert few == job.chosen(problems[::-1], (), None, 10) != problems[:10]
    assert [p.position for p in few] == sorted(p.position for p in few)
    assert job.chosen(problems, (), 3, 10) == few[:3]
    assert job.chosen(problems, (), None, 99) == problems
