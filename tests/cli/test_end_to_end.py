"""`prove` as its users run it: a process of its own, a real Lean, real files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.decoder.tiny import tiny_checkpoint

pytestmark = pytest.mark.lean

PATIENCE = 300.0
ROOT = Path(__file__).parents[2]
PROVE = (sys.executable, "-m", "prover.cli.prove", "--lean", "embedded", "--workers", "1")

THREE = """-- Three theorems, of which one is not to be had.
theorem first (p q : Prop) (h : p ∧ q) : q ∧ p := by
  sorry -- keep me

theorem hard (a b c n : Nat) (h : n > 2) (ha : a > 0) (hb : b > 0) : a ^ n + b ^ n ≠ c ^ n := by
  sorry

theorem last (n : Nat) : 0 + n = n := sorry
"""


@pytest.fixture(autouse=True)
def _lean_is_there(embedded_command: object) -> None:
    """Install it beforehand: no test shall wait for a download."""


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROVE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )


def prove(*arguments: object) -> tuple[int, str, str]:
    """Run the command to its end; return its exit code and what it printed."""
    process = start(*arguments)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, out, err


def test_a_file_with_one_theorem_that_resists(tmp_path: Path) -> None:
    file = tmp_path / "Three.lean"
    file.write_text(THREE)
    code, out, err = prove(file, "--timeout", 3, "--json")
    assert code == 1, err
    records = [json.loads(line) for line in out.splitlines()]
    assert [(r["name"], r["line"], r["status"]) for r in records] == [
        ("first", 3, "proved"),
        ("hard", 6, "not_proved"),
        ("last", 8, "proved"),
    ]
    assert records[1]["proof"] is None
    assert "2 of 3 proved" in err
    assert file.read_text() == THREE

    written = (tmp_path / "Three.proved.lean").read_text()
    assert written.count("sorry") == 1
    assert "-- keep me" in written
    for record in (records[0], records[2]):
        assert record["proof"][0] in written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Three.lean", "Three.proved.lean"]


@pytest.mark.parametrize(
    "text, remarks",
    [
        ("theorem a : True := trivial\ntheorem b : 1 = 2 :=\n  rfl\n", [":3:2: error:", "does not compile"]),
        ("import Mathlib\ntheorem a : True := by sorry\n", ["Mathlib", "--lean PATH"]),
    ],
)
def test_an_input_at_fault(text: str, remarks: list[str], tmp_path: Path) -> None:
    file = tmp_path / "Fault.lean"
    file.write_text(text)
    code, out, err = prove(file)
    assert (code, out) == (2, ""), err
    for remark in remarks:
        assert remark in err
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["Fault.lean"]


def test_a_bare_statement() -> None:
    code, out, err = prove("-e", "∀ n : Nat, n + 0 = n")
    assert code == 0, err
    assert "proved" in out.splitlines()[0]
    assert "1 of 1 proved" in err


def test_ctrl_c_in_a_search_keeps_what_is_proved_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "Three.lean"
    file.write_text(THREE)
    process = start(file, "-v", "--timeout", 200)
    try:
        assert process.stderr is not None
        while "] hard" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        family = _all_children_until_its_end(process)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 1, err
    assert "first: proved" in out
    assert "Interrupted" in err and "1 of 3 proved" in err
    assert "Traceback" not in err
    assert any("node" in " ".join(names) for names in family.values())
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Three.lean", "Three.proved.lean"]
    assert file.read_text() == THREE
    assert (tmp_path / "Three.proved.lean").read_text().endswith(THREE[THREE.index("theorem hard") :])


def _all_children_until_its_end(process: subprocess.Popen[str]) -> dict[psutil.Process, list[str]]:
    """Every process that it has or starts from now on, with its command line."""
    family: dict[psutil.Process, list[str]] = {}
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                family.setdefault(child, child.cmdline())
        time.sleep(0.1)
    return family


def test_a_decoder_proposes_beside_the_portfolio(tmp_path: Path) -> None:
    """The model is random: what is proved, the portfolio proves; what the model says does no harm."""
    model = tiny_checkpoint(tmp_path / "model", context=512)
    file = tmp_path / "One.lean"
    file.write_text("theorem one (p q : Prop) (h : p ∧ q) : q ∧ p := by\n  sorry\n")
    chosen = ("--generator", "portfolio+decoder", "--model", model, "--prompt", "history", "--samples", "4")
    code, out, err = prove(file, *chosen)
    assert code == 0, err
    assert "one: proved" in out and "Loading the decoder" in err


def test_a_model_that_is_none_is_told_of(tmp_path: Path) -> None:
    code, _, err = prove("-e", "True", "--generator", "decoder", "--model", tmp_path, "--prompt", "goal")
    assert code == 2 and "Traceback" not in err
    assert err.splitlines()[-1].startswith("prove: ") and str(tmp_path) in err


def test_a_model_server_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    server = ("--model", "http://127.0.0.1:9/v1", "--prompt", "bfs-prover")
    code, _, err = prove("-e", "True", "--generator", "decoder", *server)
    assert code == 3 and "Traceback" not in err and "127.0.0.1:9" in err
