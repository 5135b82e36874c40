"""Files open in Lean processes: what is cancelled, dies, hangs or babbles costs nothing but itself.

With fake servers for what has to happen at a certain moment, and with a real Lean for what real tactics do.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from prover import lean_environment
from prover.environment import CrashKind, LeanError, ProofFinished, TacticCrash, TacticState
from prover.errors import LeanUnavailable
from prover.generators.base import Candidate, Query
from prover.generators.portfolio import Portfolio
from prover.lean.messages import InfoRequest, RunRequest, Source, Status
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess
from prover.lean_environment import LeanDojo, LeanFile, open_file
from prover.search.best_first import Budget, Progress, SearchResult, SearchStatus, best_first_search
from tests.lean.fake_server import fake_command
from tests.lean.test_process import is_gone, until_gone

LONG = 60.0
SOURCE = Source("A", "A.lean", "theorem a : p := by sorry\n")


class Scripted:
    """Proposes the same tactics everywhere."""

    name = "scripted"

    def __init__(self, *tactics: str) -> None:
        self.candidates = [Candidate(tactic, -0.1 * i) for i, tactic in enumerate(tactics, 1)]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [self.candidates for _ in queries]


def process_of(file: LeanFile) -> LeanProcess:
    """The process of a file with one worker."""
    (worker,) = file._all
    return worker.process


def live_states(file: LeanFile) -> int:
    return sum(len(worker.states) + len(worker.doomed) for worker in file._all)


async def cancel_in_flight(dojo: LeanDojo, tactic: str) -> None:
    """Start a tactic and give up on it while it runs."""
    running = asyncio.create_task(dojo.run_tacs(dojo.root, [tactic, "fine"]))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# --- with fake servers ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def fake_file() -> AsyncIterator[LeanFile]:
    async with LeanPool(fake_command(), size=1) as pool, open_file(pool, SOURCE) as file:
        yield file


async def test_a_cancelled_tactic_is_waited_for_and_its_state_dropped(fake_file: LeanFile) -> None:
    dojo, process = LeanDojo(fake_file, 0), process_of(fake_file)
    await cancel_in_flight(dojo, "later 1")
    await dojo.close()
    assert isinstance((await dojo.run_tac(dojo.root, "fine")).result, TacticState)
    assert process_of(fake_file) is process
    await dojo.close()
    await dojo.run_tac(dojo.root, "prove")
    dropped = (await process.ask(InfoRequest(), LONG)).body["dropped"]
    # Of the tactic, of the one that was sent behind it, and of the last; the fake gives all the same number.
    assert dropped == [101, 101, 101]
    assert live_states(fake_file) == 1


async def test_what_was_sent_ahead_of_a_finished_proof_is_dropped(fake_file: LeanFile) -> None:
    dojo, process = LeanDojo(fake_file, 0), process_of(fake_file)
    outcomes = await dojo.run_tacs(dojo.root, ["prove", "fine", "fine"])
    assert [type(outcome.result) for outcome in outcomes] == [ProofFinished]
    assert isinstance((await dojo.run_tac(dojo.root, "prove")).result, ProofFinished)
    assert (await process.ask(InfoRequest(), LONG)).body["dropped"] == [101]
    assert live_states(fake_file) == 1


@pytest.mark.parametrize("fault", ["hang", "exit 3", "garbage"])
async def test_a_fault_is_blamed_on_its_own_tactic(
    fake_file: LeanFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    monkeypatch.setattr(lean_environment, "TACTIC_SECONDS", 0.5)
    dojo = LeanDojo(fake_file, 0)
    outcomes = await dojo.run_tacs(dojo.root, ["fine", fault, "fine", "later 0.1", "later 0.2", "later 0.3"])
    assert [type(outcome.result) for outcome in outcomes] == [TacticState, TacticCrash] + 4 * [TacticState]
    gc.collect()
    unheard = [record for record in caplog.records if "Lean" in record.getMessage()]
    assert not unheard, "no failure is left that nobody has heard of"


async def test_a_cancelled_tactic_that_hangs_goes_with_its_process(
    fake_file: LeanFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean_environment, "PATIENCE_SECONDS", 0.2)
    dojo, process = LeanDojo(fake_file, 0), process_of(fake_file)
    await cancel_in_flight(dojo, "hang")
    async with asyncio.timeout(lean_environment.TACTIC_SECONDS / 2):
        assert isinstance((await dojo.run_tac(dojo.root, "prove")).result, ProofFinished)
    assert await until_gone(process.pid)


async def test_a_file_that_is_closed_takes_its_running_tactic_with_it() -> None:
    async with LeanPool(fake_command(), size=1) as pool:
        async with open_file(pool, SOURCE) as file:
            process = process_of(file)
            await cancel_in_flight(LeanDojo(file, 0), "hang")
        assert await until_gone(process.pid)
        async with open_file(pool, SOURCE) as file:
            dojo = LeanDojo(file, 0)
            assert isinstance((await dojo.run_tac(dojo.root, "prove")).result, ProofFinished)


async def test_a_closed_file_leaves_no_states_in_a_process_that_lives_on() -> None:
    async with LeanPool(fake_command(), size=1) as pool:
        async with open_file(pool, SOURCE) as file:
            process, dojo = process_of(file), LeanDojo(file, 0)
            await dojo.run_tac(dojo.root, "fine")
        assert (await process.ask(InfoRequest(), LONG)).body["dropped"] == [100, 101]


async def test_the_same_tactic_twice_leaves_one_state(fake_file: LeanFile) -> None:
    dojo = LeanDojo(fake_file, 0)
    for _ in range(5):
        await dojo.run_tac(dojo.root, "fine")
    await dojo.run_tac(dojo.root, "prove")  # what is doomed goes with the next tactic
    assert live_states(fake_file) == 2


async def test_drop_and_trust_do_not_wait_for_a_busy_process(fake_file: LeanFile) -> None:
    dojo = LeanDojo(fake_file, 0)
    state = (await dojo.run_tac(dojo.root, "fine")).result
    assert isinstance(state, TacticState)
    running = asyncio.create_task(dojo.run_tac(dojo.root, "later 2"))
    await asyncio.sleep(0.2)
    await dojo.drop([state])
    await fake_file.trust(["a"])
    assert not running.done()
    await running


async def test_a_process_that_dies_between_two_tactics_is_replaced_unnoticed(fake_file: LeanFile) -> None:
    dojo = LeanDojo(fake_file, 0)
    state = (await dojo.run_tac(dojo.root, "fine")).result
    assert isinstance(state, TacticState)
    os.kill(process_of(fake_file).pid, signal.SIGKILL)
    await fake_file.trust(["a"])
    assert isinstance((await dojo.run_tac(state, "prove")).result, ProofFinished)
    assert fake_file.crashes == 1


async def test_no_worker_is_lost_when_lean_cannot_be_started_any_more(
    fake_file: LeanFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> LeanProcess:
        raise LeanUnavailable("no more")

    dojo = LeanDojo(fake_file, 0)
    with monkeypatch.context() as patch:
        patch.setattr(fake_file._pool, "replace", fail)
        for _ in range(2):
            with pytest.raises(LeanUnavailable):
                await dojo.run_tac(dojo.root, "exit 3")
            assert len(fake_file._all) == 1
            assert fake_file._idle == fake_file._all
    assert isinstance((await dojo.run_tac(dojo.root, "prove")).result, ProofFinished)


async def test_no_worker_is_listed_when_none_can_be_had(tmp_path: Path) -> None:
    async with LeanPool(fake_command("die", tmp_path / "starts"), size=1) as pool:
        with pytest.raises(LeanUnavailable, match="failed to start"):
            async with open_file(pool, SOURCE):
                pass
    async with LeanPool(fake_command("hang"), size=1) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), open_file(pool, SOURCE):
                pass


async def test_workers_share_the_work_and_a_dead_one_is_not_shared() -> None:
    async with LeanPool(fake_command(), size=2) as pool, open_file(pool, SOURCE, workers=2) as file:
        dojo = LeanDojo(file, 0)
        outcomes = await asyncio.gather(*(dojo.run_tac(dojo.root, f"later 0.{i}") for i in range(1, 9)))
        assert all(isinstance(o.result, TacticState) for o in outcomes)
        outcomes = await asyncio.gather(*(dojo.run_tac(dojo.root, t) for t in ("exit 1", "prove", "fine")))
        assert [type(o.result) for o in outcomes] == [TacticCrash, ProofFinished, TacticState]
        assert len(file._all) == 2
        assert len({worker.process.pid for worker in file._all}) == 2


async def test_a_search_goes_on_after_everything_a_process_can_do() -> None:
    everything = ("garbage", "wrong-id", "half-line", "exit 3", "prove")
    async with LeanPool(fake_command(), size=1) as pool, open_file(pool, SOURCE) as file:
        result = await best_first_search(LeanDojo(file, 0), Scripted(*everything), Budget(seconds=LONG))
    assert result.proof == ("prove",)
    assert result.counts.crashes == 4
    kinds = [edge.message.split(":")[0] for edge in result.tree.nodes[0].edges][:4]
    assert kinds == [CrashKind.GARBAGE, CrashKind.GARBAGE, CrashKind.GARBAGE, CrashKind.DIED]


# --- with a real Lean -------------------------------------------------------------------------------

REAL = Source(
    "Faults",
    "Faults.lean",
    """
theorem faults (p q : Prop) (l : List Nat) (h : p ∧ q) :
    (q ∧ ∃ n, n = l.length) ∧ (l ++ []).length = l.length := by
  sorry

theorem steps (p q r : Prop) (h : p ∧ (q ∨ r)) : ∃ n : Nat, (p ∧ q) ∨ (r ∧ p) ∧ n + 3 = 5 ∨ q := by
  sorry
""",
)
BUDGET = Budget(expansions=200, seconds=240.0)
in_session = pytest.mark.asyncio(loop_scope="session")


async def search(file: LeanFile, generator: object, on_event: object = None) -> SearchResult:
    return await best_first_search(LeanDojo(file, 1), generator, BUDGET, on_event=on_event)  # type: ignore[arg-type]


@pytest.mark.lean
@in_session
async def test_kill_9_in_a_search_changes_nothing(lean_pool: LeanPool) -> None:
    async with open_file(lean_pool, REAL) as file:
        undisturbed = await search(file, Portfolio())
        assert undisturbed.status is SearchStatus.PROVED
        assert len(undisturbed.proof or ()) > 1, "too easy to be disturbed"
        killed: list[int] = []

        def kill_once(progress: Progress) -> None:
            if not killed and progress.counts.expansions > 1:
                killed.append(process_of(file).pid)
                os.kill(killed[0], signal.SIGKILL)

        disturbed = await search(file, Portfolio(), kill_once)
        assert killed and is_gone(killed[0])
        assert file.crashes == 1
        assert disturbed.proof == undisturbed.proof
        assert disturbed.counts.crashes == 0


@pytest.mark.lean
@in_session
async def test_real_tactics_that_take_lean_down(lean_pool: LeanPool, monkeypatch: pytest.MonkeyPatch) -> None:
    bottomless = "exact " + "(" * 20_000 + "h" + ")" * 20_000
    async with open_file(lean_pool, REAL) as file:
        dojo = LeanDojo(file, 0)
        state = (await dojo.run_tac(dojo.root, "constructor")).result
        assert isinstance(state, TacticState)
        overflown = (await dojo.run_tac(state, bottomless)).result
        assert isinstance(overflown, TacticCrash)
        assert overflown.kind is CrashKind.DIED
        assert "stack overflow" in overflown.message
        assert file.crashes == 1, "a stack overflow would recur"

        monkeypatch.setattr(lean_environment, "TACTIC_SECONDS", 3.0)
        hung = (await dojo.run_tac(state, "have : 5 ^ 999999 % 7 = l.length := by omega")).result
        assert isinstance(hung, TacticCrash)
        assert hung.kind is CrashKind.TIMEOUT
        assert file.crashes == 2, "what hangs is not tried again"
        monkeypatch.setattr(lean_environment, "TACTIC_SECONDS", LONG)

        sum_of_quarter_gigabytes = " + ".join(f"(1 <<< {2_000_000_000 - i})" for i in range(9))
        gluttonous = f"exact absurd (by decide +kernel : {sum_of_quarter_gigabytes} = 0) (by simp)"
        bloated = (await dojo.run_tac(state, gluttonous)).result
        assert isinstance(bloated, TacticCrash)
        assert bloated.kind is CrashKind.DIED
        assert "memory" in bloated.message

        again = (await dojo.run_tac(state, "exact ⟨h.2, _, rfl⟩")).result
        assert isinstance(again, TacticState)
        assert isinstance((await dojo.run_tac(again, "simp")).result, ProofFinished)
        assert isinstance((await dojo.run_tac(state, "omega")).result, LeanError)


@pytest.mark.lean
@in_session
async def test_dropped_states_are_gone_from_lean(lean_pool: LeanPool) -> None:
    async with open_file(lean_pool, REAL) as file:
        dojo = LeanDojo(file, 0)
        await dojo.run_tacs(dojo.root, ["constructor", "cases h", "cases l"])
        (worker,) = file._all
        ids = [state for (_, path), state in worker.states.items() if path]
        await dojo.run_tac(dojo.root, "constructor")
        assert len(ids) == 3 and worker.doomed == ids[:1]
        await dojo.close()
        await dojo.run_tac(dojo.root, "omega")
        answers = [await worker.process.ask(RunRequest(state, "skip"), LONG) for state in ids]
        assert [answer.status for answer in answers] == [Status.UNKNOWN_STATE] * 3
        assert live_states(file) == 2
