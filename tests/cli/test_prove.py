"""`prove` from its command line to files, output and exit code, with a scripted agent behind it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import prover
from prover.cli.progress import Progress
from prover.cli.prove import main
from prover.errors import InputError, LeanUnavailable
from prover.lean import toolchain
from prover.lean.install import Progress as InstallProgress
from prover.lean.messages import Message, Position, Severity, Verdict
from prover.lean.toolchain import Kind, LeanCommand
from prover.reports import (
    CheckReport,
    FileReport,
    Finished,
    OnEvent,
    Options,
    Stage,
    Started,
    TheoremReport,
    TheoremStatus,
)
from prover.reports import Progress as Standing

Prove = Callable[..., Result]

PROVED = TheoremReport(
    file="A.lean",
    name="a",
    line=1,
    column=19,
    status=TheoremStatus.PROVED,
    statement="⊢ p",
    proof=("intro h", "omega"),
    expansions=2,
    tactics=7,
    crashes=0,
    seconds=0.25,
    lean_seconds=0.2,
    message="",
    tree={"nodes": []},
)
OPEN = replace(
    PROVED, name="b", line=2, status=TheoremStatus.NOT_PROVED, proof=None, message="60 s are over", tree=None
)
SOURCE = "theorem a : p := by sorry\r\n"
OUTPUT = "theorem a : p := by\r\n  intro h\r\n  omega\r\n"


class FakeAgent:
    """Answers every file with the same reports, and remembers what it was asked."""

    def __init__(self) -> None:
        self.theorems: tuple[TheoremReport, ...] = (PROVED,)
        self.output: str | None = OUTPUT
        self.options: Options | None = None
        self.before: Callable[[], Any] = lambda: None
        self.accepted = True
        self.installs = False
        self.warnings: tuple[str, ...] = ()

    async def prove_files(
        self, paths: Sequence[Path], options: Options, on_event: OnEvent
    ) -> list[FileReport]:
        self.options = options
        on_event(Stage("Starting Lean"))
        self.before()
        try:
            await asyncio.sleep(0 if self.before.__name__ != "interrupt" else 30)
        except asyncio.CancelledError:
            if not self.theorems:
                raise
        for theorem in self.theorems:
            on_event(Finished(theorem))
        return [FileReport(str(path), self.theorems, self.output) for path in paths]

    def choose_lean(
        self, path: Path | None, choice: str | None, progress: InstallProgress, sandbox: bool
    ) -> LeanCommand:
        if self.installs:
            progress("Downloading", 1, 2)
        return LeanCommand(Kind.TOOLCHAIN, (), "a Lean", 1, warnings=self.warnings)

    async def prove_statement(self, statement: str, options: Options, on_event: OnEvent) -> FileReport:
        (report,) = await self.prove_files([Path(statement)], options, on_event)
        return report

    async def check_file(
        self, candidate: Path, original: Path, options: Options, on_event: OnEvent
    ) -> CheckReport:
        verdict = Verdict("a", self.accepted, "" if self.accepted else "it uses sorry", ())
        message = Message(Severity.ERROR, Position(3, 4, 40), "unsolved goals")
        return CheckReport(str(candidate), (verdict,), () if self.accepted else (message,), self.accepted)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    fake = FakeAgent()
    module = SimpleNamespace(
        prove_files=fake.prove_files, prove_statement=fake.prove_statement, check_file=fake.check_file
    )
    monkeypatch.setattr(prover, "agent", module, raising=False)
    monkeypatch.setattr(toolchain, "choose_lean", fake.choose_lean)
    return fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "A.lean").write_bytes(SOURCE.encode())
    return tmp_path


def prove(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what goes together -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["A.lean", "-e", "p"],
        ["--check", "A.lean"],
        ["--against", "A.lean", "A.lean"],
        ["--check", "A.lean", "--against", "A.lean", "A.lean"],
        ["A.lean", "--in-place", "--output", "B.lean"],
        ["-e", "p", "--in-place"],
        ["A.lean", "A.lean", "-o", "B.lean"],
        ["A.lean", "--timeout", "0"],
        ["A.lean", "--workers", "0"],
        ["A.lean", "--nonsense"],
    ],
)
def test_wrong_usage_is_the_inputs_fault(agent: FakeAgent, folder: Path, arguments: list[str]) -> None:
    result = prove(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert agent.options is None


def test_options_reach_the_agent(agent: FakeAgent, folder: Path) -> None:
    limits = ["--timeout", "2.5", "--max-expansions", "3", "--max-tactics", "4", "--workers", "5"]
    choices = ["--seed", "6", "--generator", "g", "--lean", "embedded", "--theorem", "a", "--theorem", "b"]
    prove("A.lean", *limits, *choices)
    assert agent.options == Options(2.5, 3, 4, 5, 6, "g", "embedded", ("a", "b"))
    prove("A.lean", "--no-sandbox")
    assert agent.options.sandbox is False


def test_what_is_to_be_known_of_the_lean_is_told_once(agent: FakeAgent, folder: Path) -> None:
    agent.warnings = ("this Lean is strange",)
    result = prove("A.lean", "A.lean")
    assert result.exit_code == 0
    assert result.stderr.count("prove: warning: this Lean is strange") == 1


def test_there_is_at_least_one_worker(agent: FakeAgent, folder: Path) -> None:
    prove("A.lean")
    assert agent.options is not None and agent.options.workers >= 1


def test_an_installation_is_shown(agent: FakeAgent, folder: Path) -> None:
    agent.installs = True
    assert prove("A.lean").stderr.startswith("Downloading\nStarting Lean\n")


def test_help_does_not_wait_for_what_only_the_work_needs() -> None:
    code = "import sys, prover.cli.prove; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"asyncio", "rich", "psutil", "prover.cli.job", "prover.lean.install"} & set(loaded.split())


# --- results ----------------------------------------------------------------------------------------


def test_all_proved(agent: FakeAgent, folder: Path) -> None:
    result = prove("A.lean")
    assert result.exit_code == 0
    assert result.stdout == "-- A.lean:1:19 a: proved (7 tactics, 0.2 s)\n  intro h\n  omega\n\n"
    assert "1 of 1 proved" in result.stderr
    assert (folder / "A.proved.lean").read_bytes() == OUTPUT.encode()
    assert (folder / "A.lean").read_bytes() == SOURCE.encode()


def test_some_not_proved(agent: FakeAgent, folder: Path) -> None:
    agent.theorems = (PROVED, OPEN)
    result = prove("A.lean")
    assert result.exit_code == 1
    assert "-- A.lean:2:19 b: not proved (7 tactics, 0.2 s): 60 s are over\n" in result.stdout
    assert "1 of 2 proved (1 proved, 1 not proved)" in result.stderr
    assert names(folder) == ["A.lean", "A.proved.lean"]


@pytest.mark.parametrize("status", [status for status in TheoremStatus if status != "proved"])
def test_nothing_but_proved_counts_as_proved(agent: FakeAgent, folder: Path, status: TheoremStatus) -> None:
    agent.theorems, agent.output = (replace(OPEN, status=status),), None
    assert prove("A.lean").exit_code == 1
    assert names(folder) == ["A.lean"]


def test_nothing_to_prove(agent: FakeAgent, folder: Path) -> None:
    agent.theorems, agent.output = (), None
    result = prove("A.lean")
    assert result.exit_code == 0 and "Nothing to prove" in result.stderr
    assert names(folder) == ["A.lean"]


def test_in_place(agent: FakeAgent, folder: Path) -> None:
    assert prove("A.lean", "--in-place").exit_code == 0
    assert (folder / "A.lean").read_bytes() == OUTPUT.encode()
    assert names(folder) == ["A.lean"]


def test_a_file_that_was_edited_meanwhile_is_left_alone(agent: FakeAgent, folder: Path) -> None:
    agent.before = lambda: (folder / "A.lean").write_text("edited")
    result = prove("A.lean", "--in-place")
    assert "changed meanwhile" in result.stderr
    assert (folder / "A.lean").read_text() == "edited"
    assert (folder / "A.proved.lean").read_bytes() == OUTPUT.encode()


def test_output(agent: FakeAgent, folder: Path) -> None:
    prove("A.lean", "--output", "B.lean")
    assert names(folder) == ["A.lean", "B.lean"]


def test_an_output_that_cannot_be_written(agent: FakeAgent, folder: Path) -> None:
    result = prove("A.lean", "--output", "missing/B.lean")
    assert result.exit_code == 2 and "missing/B.lean cannot be written" in result.stderr


def test_json_is_one_record_a_theorem(agent: FakeAgent, folder: Path) -> None:
    agent.theorems = (PROVED, OPEN)
    records = [json.loads(line) for line in prove("A.lean", "--json").stdout.splitlines()]
    assert [record["status"] for record in records] == ["proved", "not_proved"]
    assert records[0]["proof"] == ["intro h", "omega"] and records[0]["statement"] == "⊢ p"
    assert "tree" not in records[0]


def test_trees_are_exported(agent: FakeAgent, folder: Path) -> None:
    agent.theorems = (replace(PROVED, name="«../x»"), OPEN)
    prove("A.lean", "--tree", "trees")
    (tree,) = (folder / "trees").iterdir()
    assert tree.name == "A.1.19._.._x_.json"
    assert json.loads(tree.read_text()) == {"nodes": []}


def test_a_statement_writes_no_file(agent: FakeAgent, folder: Path) -> None:
    result = prove("-e", "p")
    assert result.exit_code == 0 and "  omega\n" in result.stdout
    assert names(folder) == ["A.lean"]


def test_control_characters_do_not_reach_the_terminal(agent: FakeAgent, folder: Path) -> None:
    agent.theorems = (replace(OPEN, message="\x1b[2Jgone\rX"),)
    result = prove("A.lean")
    assert "\x1b" not in result.output and "\r" not in result.output and "gone" in result.output


# --- what can go wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [(InputError("4:2: no"), 2), (LeanUnavailable("no Node"), 3)])
def test_errors_are_told_without_a_traceback(
    agent: FakeAgent, folder: Path, error: Exception, code: int
) -> None:
    def fail() -> None:
        raise error

    agent.before = fail
    result = prove("A.lean")
    assert result.exit_code == code
    assert f"prove: {error}" in result.stderr and "Traceback" not in result.stderr
    assert names(folder) == ["A.lean"]


def test_a_missing_file_is_told_before_lean_starts(agent: FakeAgent, folder: Path) -> None:
    result = prove("A.lean", "B.lean")
    assert result.exit_code == 2 and "B.lean: no such file" in result.stderr
    assert agent.options is None


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_reports_what_was_proved(agent: FakeAgent, folder: Path) -> None:
    agent.before = interrupt
    result = prove("A.lean")
    assert result.exit_code == 1
    assert "  omega\n" in result.stdout and "Interrupted" in result.stderr
    assert (folder / "A.proved.lean").read_bytes() == OUTPUT.encode()


def test_an_interrupt_before_anything_was_proved(agent: FakeAgent, folder: Path) -> None:
    agent.before, agent.theorems = interrupt, ()
    result = prove("A.lean")
    assert result.exit_code == 1 and "nothing was proved yet" in result.stderr
    assert names(folder) == ["A.lean"]


# --- checking ---------------------------------------------------------------------------------------


def test_check_accepts(agent: FakeAgent, folder: Path) -> None:
    result = prove("--check", "A.lean", "--against", "A.lean")
    assert result.exit_code == 0 and result.stdout == "a: accepted\n"


def test_check_rejects(agent: FakeAgent, folder: Path) -> None:
    agent.accepted = False
    result = prove("--check", "A.lean", "--against", "A.lean")
    assert result.exit_code == 1 and result.stdout == "a: REJECTED: it uses sorry\n"
    assert "A.lean:3:4: error: unsolved goals" in result.stderr


def test_check_as_json(agent: FakeAgent, folder: Path) -> None:
    agent.accepted = False
    (line,) = prove("--check", "A.lean", "--against", "A.lean", "--json").stdout.splitlines()
    record = {"file": "A.lean", "name": "a", "accepted": False, "reason": "it uses sorry", "axioms": []}
    assert json.loads(line) == record


def test_check_of_a_missing_file(agent: FakeAgent, folder: Path) -> None:
    assert prove("--check", "A.lean", "--against", "B.lean").exit_code == 2


# --- progress ---------------------------------------------------------------------------------------

EVENTS = [
    Stage("Installing Lean", 1, 4),
    Stage("Installing Lean", 3, 4),
    Started("a", 1, 2, "x : Nat\n⊢ p [x]"),
    Standing("a", 1, 2, 3, 70, 99.6, "x : Nat\n⊢ p\n  [x]"),
    Finished(PROVED),
]


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, verbose: bool) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with Progress(verbose=verbose) as progress:
        for event in EVENTS:
            progress.on_event(event)
            if progress._live is not None:
                progress._live.refresh()
    return stream.getvalue()


def test_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=False, verbose=False)
    assert text == "Installing Lean\nA.lean:1:19 a: proved (7 tactics, 0.2 s)\n"


def test_verbose_shows_the_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[1/2] a\n    x : Nat\n    ⊢ p [x]\n" in shown(monkeypatch, terminal=False, verbose=True)


def test_a_line_that_renews_itself_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True, verbose=False)
    assert "Installing Lean 75%" in text
    assert "[1/2] a  3 expansions, 70 tactics, 100/s  ⊢ p [x]" in text
    assert "A.lean:1:19 a: proved (7 tactics, 0.2 s)\n" in text
    assert text.endswith("\x1b[2K")
