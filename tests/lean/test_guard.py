"""What a guard leaves behind when it is killed, and which control groups others may remove."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prover.lean import guard
from tests.lean.fake_server import GUARD
from tests.lean.test_process import is_gone


def run_guarded(limits: dict[str, int], *command: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-I", str(GUARD), "--limits", json.dumps(limits), *command]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(("name", "option", "value"), [("open_files", "-n", 99), ("cpu_seconds", "-t", 77)])
def test_limits_reach_the_command(name: str, option: str, value: int) -> None:
    with run_guarded({name: value}, "/bin/sh", "-c", f"ulimit {option}; exit 5") as process:
        assert process.communicate(timeout=30)[0] == f"{value}\n"
    assert process.returncode == 5


def test_a_limit_above_what_is_allowed_is_no_error() -> None:
    shell = (
        f"ulimit -n 50; exec {sys.executable} -I {GUARD} --limits '{{\"open_files\": 99}}' sh -c 'ulimit -n'"
    )
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, timeout=30)
    assert done.stdout == "50\n"


def test_a_command_that_is_not_there() -> None:
    with run_guarded({"threads": 9}, "/no/such/command") as process:
        process.communicate(timeout=30)
    assert process.returncode == 127


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for one of control groups."""
    monkeypatch.setattr(guard, "_bases", lambda: [tmp_path])
    return tmp_path


def test_groups_of_guards_that_are_gone_are_removed(base: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as living:
        (base / f"lean-prover-{living.pid}").mkdir()
        (base / "lean-prover-999999999").mkdir()
        (base / "somebody-elses").mkdir()
        guard._sweep(base)
        assert sorted(path.name for path in base.iterdir()) == [f"lean-prover-{living.pid}", "somebody-elses"]
        living.kill()
    assert guard.remove_group(living.pid) and not (base / f"lean-prover-{living.pid}").exists()


def test_a_group_with_processes_in_it_stays(base: Path) -> None:
    (base / "lean-prover-7" / "cgroup.procs").mkdir(parents=True)  # a folder that cannot be removed either
    assert not guard.remove_group(7)


def test_a_killed_guard_takes_its_command_with_it() -> None:
    with run_guarded({"threads": 50}, "/bin/sh", "-c", "echo $$; exec sleep 60") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        guard_pid = process.pid
        assert not is_gone(child)
        # As `LeanProcess` does: the whole group, with no time for anybody to tidy up.
        os.killpg(guard_pid, signal.SIGKILL)
    for _ in range(200):
        if guard.remove_group(guard_pid) and is_gone(child):
            break
        time.sleep(0.05)
    assert guard.remove_group(guard_pid) and is_gone(child)
