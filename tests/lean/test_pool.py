"""The pool of Lean processes, with fake servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.errors import LeanUnavailable
from prover.lean.messages import OpenRequest, RunRequest, Source
from prover.lean.pool import LeanPool
from prover.lean.process import LeanHung
from tests.lean.fake_server import fake_command
from tests.lean.test_process import is_gone

LONG = 60.0
OPEN = OpenRequest(Source("A", "A.lean", ""))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.02)


def pids(starts: Path) -> list[int]:
    return [int(line) for line in starts.read_text().splitlines()] if starts.exists() else []


def living(starts: Path) -> int:
    return sum(not is_gone(pid) for pid in pids(starts))


async def test_borrowing_waits_for_a_free_one(tmp_path: Path) -> None:
    async with LeanPool(fake_command(), size=2, spares=1) as pool:
        first, second = await pool.acquire(), await pool.acquire()
        assert first is not second
        third = asyncio.create_task(pool.acquire())
        done, _ = await asyncio.wait([third], timeout=0.5)
        assert not done  # a spare is no third worker
        await pool.release(first)
        assert await third is first


async def test_spares_start_after_the_workers(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with LeanPool(fake_command("normal", starts), size=2, spares=2) as pool:
        borrowed = [await pool.acquire(), await pool.acquire()]
        await eventually(lambda: len(pids(starts)) == 4)
        assert {process.pid for process in borrowed} == set(pids(starts)[:2])
        await asyncio.sleep(0.2)
        assert len(pids(starts)) == 4
    assert living(starts) == 0


@pytest.mark.parametrize("spares", [0, 1])
async def test_a_failed_process_is_replaced(spares: int, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with LeanPool(fake_command("normal", starts), size=1, spares=spares) as pool:
        process = await pool.acquire()
        await eventually(lambda: len(pool._ready) == spares)
        warm = [spare.pid for spare in pool._ready]
        with pytest.raises(LeanHung):
            await process.ask(RunRequest(0, "hang"), 0.3)
        fresh = await pool.replace(process)
        assert fresh.pid == warm[0] if spares else fresh.pid not in (process.pid, *warm)
        assert (await fresh.ask(RunRequest(4, "fine"), LONG)).state == 5
        await eventually(lambda: len(pids(starts)) == 2 + spares)
        assert living(starts) <= 1 + spares
    assert living(starts) == 0


async def test_replace_keeps_the_seat_and_the_bound(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    most = 0
    async with LeanPool(fake_command("normal", starts), size=2, spares=1) as pool:

        async def work() -> None:
            nonlocal most
            process = await pool.acquire()
            for _ in range(3):
                process = await pool.replace(process)
                most = max(most, living(starts))
            await pool.release(process)

        async with asyncio.timeout(LONG):
            await asyncio.gather(*(work() for _ in range(4)))
    assert most <= 3
    assert living(starts) == 0


async def test_worn_out_processes_are_retired() -> None:
    async with LeanPool(fake_command(), size=1, spares=0, retire_after_imports=3) as pool:
        seen = []
        for number in range(4):
            process = await pool.acquire()
            seen.append(process.pid)
            await process.ask(OPEN, LONG)  # the same imports again cost nothing
            await process.ask(OpenRequest(Source("A", "A.lean", f"import Library{number}")), LONG)
            await pool.release(process)
    assert seen[0] == seen[1] != seen[2] == seen[3]


async def test_one_that_died_while_idle_is_not_lent() -> None:
    async with LeanPool(fake_command(), size=1, spares=0) as pool:
        process = await pool.acquire()
        await pool.release(process)
        os.kill(process.pid, signal.SIGKILL)
        await eventually(lambda: not process.alive)
        assert (await pool.acquire()) is not process


async def test_one_that_died_is_not_taken_back() -> None:
    async with LeanPool(fake_command(), size=1, spares=0) as pool:
        process = await pool.acquire()
        os.kill(process.pid, signal.SIGKILL)
        await eventually(lambda: not process.alive)
        await pool.release(process)
        fresh = await pool.acquire()
        assert (await fresh.ask(RunRequest(0, "fine"), LONG)).state == 1


async def test_a_start_may_fail_sometimes(tmp_path: Path) -> None:
    async with LeanPool(fake_command("die-twice", tmp_path / "starts"), size=1, spares=0) as pool:
        assert (await pool.acquire()).alive


async def test_giving_up_tells_why(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with LeanPool(fake_command("die", starts), size=1, spares=1) as pool, asyncio.timeout(LONG):
        with pytest.raises(LeanUnavailable, match=r"a fake Lean failed to start 3 times(.|\n)*cannot start"):
            await pool.acquire()
        with pytest.raises(LeanUnavailable):
            await pool.acquire()
    assert len(pids(starts)) == 3


async def test_leaving_wakes_who_waits() -> None:
    async with LeanPool(fake_command(), size=1, spares=0) as pool:
        await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
    with pytest.raises(LeanUnavailable, match="closed"):
        await asyncio.wait_for(waiting, LONG)


async def test_a_cancelled_wait_costs_no_seat() -> None:
    async with LeanPool(fake_command(), size=1, spares=0) as pool:
        process = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await pool.release(process)
        async with asyncio.timeout(LONG):
            assert await pool.acquire() is process


async def test_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with LeanPool(fake_command("hang", starts), size=2, spares=1):
        await eventually(lambda: len(pids(starts)) == 2)
    assert living(starts) == 0


def test_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="0 processes"):
        LeanPool(fake_command(), size=0)
