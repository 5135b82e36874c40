"""`prover doctor` and `prover install`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import prover.lean.install
from prover.cli.main import main
from prover.errors import LeanUnavailable
from tests.lean.scripted_toolchain import write_program


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "cache"))


def test_doctor_finds_its_way_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert "not installed yet" in result.stdout
    assert "lake" in result.stdout and "not on the PATH" in result.stdout
    assert "none (no nvidia-smi)" in result.stdout
    assert "bubblewrap (bwrap) is not on the PATH" in result.stdout
    assert not (tmp_path / "cache").exists()


def test_doctor_as_json_tells_of_programs_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {
        "lake": "echo Lake 5",
        "lean": "echo broken >&2; exit 3",
        "nvidia-smi": "echo H, 1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert found["lean"]["lake"] == f"Lake 5, {tmp_path}/lake"
    assert found["lean"]["lean"].startswith("fails with code 3 (broken)")
    assert found["machine"]["gpu"] == "H, 1"


def test_doctor_knows_which_lean_was_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"4.28.0": "", "4.31.0": "tested with 4.28.0-pre only", "4.9.1": "needs 4.25 or newer"}
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for version, text in said.items():
        write_program(tmp_path / "lean", f"#!/bin/sh\necho 'Lean (version {version}, Release)'\n")
        found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)["lean"]["lean"]
        assert found.startswith(f"Lean (version {version}, Release), {tmp_path}/lean")
        assert (text in found) if text else found.endswith("/lean")


def test_doctor_says_why_there_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "bwrap", "#!/bin/sh\necho 'bwrap: No permissions' >&2; exit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)["lean"]["sandbox"]
    assert "does not work here (bwrap: No permissions)" in found


def test_doctor_tells_of_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_MEMORY", "much")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0 and "LEAN_PROVER_MEMORY is 'much'" in result.stdout


def test_an_installation_that_fails_is_lean_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(progress: object) -> None:
        raise LeanUnavailable("no network")

    monkeypatch.setattr(prover.lean.install, "ensure_embedded", fail)
    result = CliRunner().invoke(main, ["install"])
    assert result.exit_code == 3 and "prover: no network" in result.stderr
