"""A run in a process of its own, killed at any moment and started again."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.records import Record
from eval.runner import run
from eval.store import RunStore, read_records, read_trees
from tests.eval.scripted import PLAN, SEEDS, ScriptedBench, problem

_ATTEMPTS = 24


def start(folder: Path, seconds: float = 0.0) -> subprocess.Popen[str]:
    """Start the run, or go on with it; each attempt takes so many seconds."""
    command = [sys.executable, "-m", "tests.eval.scripted", str(folder), str(seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def written(folder: Path) -> int:
    path = folder / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(folder: Path, records: int, process: subprocess.Popen[str]) -> None:
    while written(folder) < records and process.poll() is None:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("unbroken")
    with RunStore(folder, PLAN) as store:
        problems = [problem(number) for number in range(_ATTEMPTS // len(SEEDS))]
        asyncio.run(run(problems, SEEDS, ScriptedBench(), store, lambda event: None, online=True))
    return read_records(folder)


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path: Path, unbroken: list[Record], seed: int) -> None:
    chance = random.Random(seed)
    kills = 0
    while written(tmp_path) < _ATTEMPTS:
        process = start(tmp_path, 0.02)
        wait_for(tmp_path, written(tmp_path) + chance.randint(1, 9), process)
        time.sleep(chance.uniform(0, 0.03))  # to meet it in any of its steps
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert start(tmp_path).wait() == 0
    assert kills >= 1
    assert read_records(tmp_path) == unbroken
    assert list(read_trees(tmp_path)) == [one.key for one in unbroken]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly(tmp_path: Path, unbroken: list[Record], number: signal.Signals) -> None:
    process = start(tmp_path, 0.3)
    wait_for(tmp_path, 3, process)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    assert (tmp_path / "records.jsonl").read_bytes().endswith(b"\n")
    done = read_records(tmp_path)
    assert 3 <= len(done) < _ATTEMPTS and done == unbroken[: len(done)]
    assert list(read_trees(tmp_path)) == [one.key for one in done]
    assert start(tmp_path).wait() == 0
    assert read_records(tmp_path) == unbroken


def test_two_at_once_do_not_mix(tmp_path: Path, unbroken: list[Record]) -> None:
    first = start(tmp_path, 0.3)
    wait_for(tmp_path, 1, first)
    second = start(tmp_path)
    assert "another process" in second.communicate()[1] and second.returncode == 1
    first.kill()
    first.communicate()
    assert start(tmp_path).wait() == 0
    assert read_records(tmp_path) == unbroken
