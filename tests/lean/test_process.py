"""How a Lean process is talked to and how it fails, with a fake server; the real one is in test_embedded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from prover.errors import LeanUnavailable
from prover.lean.messages import InfoRequest, RunRequest, Status, TrustRequest
from prover.lean.process import Cause, LeanDied, LeanGarbage, LeanHung, LeanProcess, ProcessFailure
from prover.lean.toolchain import Kind, LeanCommand
from tests.lean.fake_server import fake_command

LONG = 60.0
SHORT = 0.5
ROOT = Path(__file__).parents[2]


def run(tactic: str, state: int = 0) -> RunRequest:
    return RunRequest(state=state, tactic=tactic)


def is_gone(pid: int) -> bool:
    """No such process, or a zombie that waits for its parent."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until_gone(pid: int) -> bool:
    for _ in range(300):
        if is_gone(pid):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_answers_are_matched_to_requests() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        answers = await asyncio.gather(*(process.ask(run("fine", state), LONG) for state in range(20)))
    assert [answer.state for answer in answers] == list(range(1, 21))


async def test_large_requests_and_answers_pass() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        answer = await process.ask(run("huge 20000000"), LONG)
        assert len(answer.body["padding"]) == 20_000_000
        names = TrustRequest(tuple(f"name{i}" for i in range(200_000)))
        assert (await process.ask(names, LONG)).status is Status.OK


async def test_forged_answers_are_noise() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        answer = await process.ask(run("forge"), LONG)
        assert answer.status is Status.OK
        assert len(process.noise) == 3
        assert all("proved" in line for line in process.noise)


async def test_nonces_differ() -> None:
    async with await LeanProcess.start(fake_command()) as one, await LeanProcess.start(fake_command()) as two:
        assert one._nonce != two._nonce


async def test_stderr_is_drained_and_its_end_kept() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        await process.ask(run("chatter 100000"), LONG)
        with pytest.raises(LeanDied) as caught:
            await process.ask(run("exit 3"), LONG)
    report = caught.value.post_mortem
    assert report.stderr[-1] == "some last words"
    assert report.stderr[-2] == "chatter 99999"
    assert len(report.stderr) == 50


@pytest.mark.parametrize(
    ("code", "cause"),
    [(3, Cause.EXITED), (0, Cause.EXITED), (134, Cause.MEMORY_FAULT), (137, Cause.OUT_OF_MEMORY)],
)
async def test_exit_code_tells_the_cause(code: int, cause: Cause) -> None:
    async with await LeanProcess.start(fake_command()) as process:
        with pytest.raises(LeanDied) as caught:
            await process.ask(run(f"exit {code}"), LONG)
    assert (caught.value.post_mortem.exit_code, caught.value.post_mortem.cause) == (code, cause)


async def test_the_report_is_in_the_error_text() -> None:
    async with await LeanProcess.start(fake_command(memory_limit=300 * 1024**2)) as process:
        with pytest.raises(
            LeanDied, match=r"exit code 3; peak memory \d+ MiB, limit 300 MiB\)\n  some last words"
        ):
            await process.ask(run("exit 3"), LONG)


async def test_death_reaches_all_who_wait_and_all_who_come() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        waiting = [asyncio.create_task(process.ask(run("later 0"), LONG)) for _ in range(3)]
        await asyncio.wait(waiting)
        waiting = [asyncio.create_task(process.ask(run(tactic), LONG)) for tactic in ("hang", "a", "b")]
        await asyncio.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [LeanDied] * 3
        with pytest.raises(LeanDied) as caught:
            await process.ask(InfoRequest(), LONG)
        assert not process.alive
    assert caught.value.post_mortem.signal == "SIGKILL"
    assert caught.value.post_mortem.cause is Cause.KILLED


async def test_the_clock_starts_at_a_requests_turn() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        answers = await asyncio.gather(*(process.ask(run("later 0.5"), 1.2) for _ in range(4)))
        assert [answer.status for answer in answers] == 4 * [Status.OK]


async def test_a_hung_process_is_killed() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        with pytest.raises(LeanHung) as caught:
            await process.ask(run("hang"), SHORT)
        assert is_gone(process.pid)
        with pytest.raises(LeanHung):
            await process.ask(InfoRequest(), LONG)
    assert caught.value.post_mortem.cause is Cause.HUNG


@pytest.mark.parametrize("tactic", ["garbage", "wrong-id"])
async def test_garbage_is_told_apart(tactic: str) -> None:
    async with await LeanProcess.start(fake_command()) as process:
        with pytest.raises(LeanGarbage):
            await process.ask(run(tactic), LONG)
        assert is_gone(process.pid)


async def test_half_an_answer_and_the_end() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        with pytest.raises(ProcessFailure):
            await process.ask(run("half-line"), LONG)


async def test_memory_limit() -> None:
    async with await LeanProcess.start(fake_command(memory_limit=100 * 1024**2)) as process:
        with pytest.raises(LeanDied) as caught:
            await process.ask(run("eat 2000000"), LONG)
    report = caught.value.post_mortem
    assert report.cause is Cause.MEMORY_LIMIT
    assert report.peak_memory > report.memory_limit == 100 * 1024**2


async def test_memory_of_children_counts() -> None:
    command = fake_command(memory_limit=100 * 1024**2, guarded=True)
    async with await LeanProcess.start(command) as process:
        with pytest.raises(LeanDied) as caught:
            await process.ask(run("eat 2000000"), LONG)
    assert caught.value.post_mortem.cause is Cause.MEMORY_LIMIT


async def test_a_cancelled_request_does_no_harm() -> None:
    async with await LeanProcess.start(fake_command()) as process:
        asking = asyncio.create_task(process.ask(run("later 0.3"), LONG))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await process.ask(run("fine", 6), LONG)).state == 7
        assert process.alive


async def test_failure_at_the_start() -> None:
    with pytest.raises(LeanDied) as caught:
        await LeanProcess.start(fake_command("die"))
    assert caught.value.post_mortem.stderr == ("cannot start",)
    with pytest.raises(LeanHung):
        await LeanProcess.start(fake_command("hang"), seconds=SHORT)
    with pytest.raises(LeanGarbage, match="no library"):
        await LeanProcess.start(fake_command("not-ready"))


async def test_a_program_that_is_not_there() -> None:
    command = LeanCommand(Kind.TOOLCHAIN, ("/nowhere/lean",), "lean from nowhere", 1)
    with pytest.raises(LeanUnavailable):
        await LeanProcess.start(_without_bundle(command))


def _without_bundle(command: LeanCommand) -> LeanCommand:
    class Bare(LeanCommand):
        def tactic_server_argv(self, mounts: object = ()) -> list[str]:
            return list(self.prefix)

    return Bare(command.kind, command.prefix, command.description, command.memory_limit)


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    starting = asyncio.create_task(LeanProcess.start(fake_command("hang", starts)))
    while not starts.exists() or not starts.read_text():
        await asyncio.sleep(0.02)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert is_gone(int(starts.read_text()))


_PARENT = """
import asyncio, sys
from pathlib import Path
from tests.lean.fake_server import fake_command
from prover.lean.messages import RunRequest
from prover.lean.process import LeanProcess

async def main():
    process = await LeanProcess.start(fake_command("normal", Path(sys.argv[1]), guarded=True))
    print("ready", flush=True)
    if sys.argv[2] == "leave":
        sys.exit(3)
    await process.ask(RunRequest(0, "hang"), 1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["kill -9", "leave", "ctrl-c"])
async def test_nothing_outlives_its_parent(how: str, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(starts), how],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    match how:
        case "kill -9":
            parent.kill()
        case "ctrl-c":
            parent.send_signal(signal.SIGINT)
    parent.wait()
    parent.stdout.close()
    assert await until_gone(int(starts.read_text()))


def test_guard_passes_the_exit_code_on() -> None:
    guard = [sys.executable, str(ROOT / "prover" / "lean" / "guard.py")]
    assert subprocess.run([*guard, sys.executable, "-c", "exit(5)"]).returncode == 5
    kill_itself = "import os; os.kill(os.getpid(), 9)"
    assert subprocess.run([*guard, sys.executable, "-c", kill_itself]).returncode == 137
    assert subprocess.run([*guard, "/nowhere/lean"], stderr=subprocess.PIPE).returncode == 127
