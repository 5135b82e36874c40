"""The main loop over a scripted bench."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks.base import Problem
from eval.runner import Event, Finished, Job, JobQueue, Started, jobs, run
from eval.store import RunStore, read_records, read_trees
from prover.errors import LeanUnavailable
from tests.eval.scripted import PLAN, SEEDS, Attempted, ScriptedBench, problem

PROBLEMS = [problem(number) for number in (3, 1, 0, 2)]
ALL = [(f"t{number}", seed) for number in range(4) for seed in SEEDS]


async def complete(
    folder: Path, bench: ScriptedBench, problems: Sequence[Problem] = PROBLEMS, *, online: bool = True
) -> list[Event]:
    events: list[Event] = []
    with RunStore(folder, PLAN) as store:
        await run(problems, SEEDS, bench, store, events.append, online=online)
    return events


class BreaksOff(ScriptedBench):
    """Raises an error at its n-th attempt."""

    error: BaseException = LeanUnavailable("no Node")
    last = 4

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        if len(self.attempts) == self.last:
            raise self.error
        return await super().attempt(problem, seed)


async def test_every_problem_with_every_seed_by_position(tmp_path: Path) -> None:
    bench = ScriptedBench()
    events = await complete(tmp_path, bench)
    assert bench.attempts == ALL
    assert [one.key for one in read_records(tmp_path)] == ALL
    assert set(read_trees(tmp_path)) == set(ALL)
    assert events[0] == Started(8, ())
    assert [event.record.key for event in events[1:] if isinstance(event, Finished)] == ALL
    assert all(event.runner_seconds > 0 for event in events[1:] if isinstance(event, Finished))


async def test_it_learns_from_proofs_when_asked(tmp_path: Path) -> None:
    online, offline = ScriptedBench(), ScriptedBench()
    await complete(tmp_path / "a", online)
    await complete(tmp_path / "b", offline, online=False)
    assert online.learned == [0, 0, 1, 1, 3, 3] and offline.learned == []
    assert [one.message for one in read_records(tmp_path / "a")][-1] == "4 learned"


@pytest.mark.parametrize("last", range(9))
async def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path, last: int) -> None:
    broken, rest = BreaksOff(), ScriptedBench()
    broken.last = last
    if last < len(ALL):
        with pytest.raises(LeanUnavailable, match="no Node"):
            await complete(tmp_path / "broken", broken)
    else:
        await complete(tmp_path / "broken", broken)
    events = await complete(tmp_path / "broken", rest)
    await complete(tmp_path / "unbroken", ScriptedBench())
    assert broken.attempts + rest.attempts == ALL
    assert events[0] == Started(8, tuple(read_records(tmp_path / "unbroken")[:last]))
    assert read_records(tmp_path / "broken") == read_records(tmp_path / "unbroken")
    assert dict(read_trees(tmp_path / "broken")) == dict(read_trees(tmp_path / "unbroken"))


async def test_side_by_side(tmp_path: Path) -> None:
    class Gate(ScriptedBench):
        """No attempt ends before three are under way."""

        async def attempt(self, problem: Problem, seed: int) -> Attempted:
            result = await super().attempt(problem, seed)
            while len(self.attempts) < 3:
                await asyncio.sleep(0)
            return result

    bench = Gate(workers=3)
    await complete(tmp_path, bench)
    assert bench.attempts == ALL
    assert sorted(one.key for one in read_records(tmp_path)) == ALL


async def test_more_workers_than_work(tmp_path: Path) -> None:
    await complete(tmp_path, ScriptedBench(workers=20))
    assert sorted(one.key for one in read_records(tmp_path)) == ALL


async def test_a_cancelled_run_keeps_what_is_done(tmp_path: Path) -> None:
    class Waits(ScriptedBench):
        gone = 0

        async def attempt(self, problem: Problem, seed: int) -> Attempted:
            if len(self.attempts) < 5:
                return await super().attempt(problem, seed)
            try:
                await asyncio.Event().wait()
            finally:
                self.gone += 1
            raise AssertionError

    bench = Waits(workers=2)
    task = asyncio.create_task(complete(tmp_path, bench))
    while not (tmp_path / "records.jsonl").exists() or len(read_records(tmp_path)) < 5:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.gone == 2
    assert {one.key for one in read_records(tmp_path)} == set(ALL[:5])
    await complete(tmp_path, ScriptedBench())
    assert sorted(one.key for one in read_records(tmp_path)) == ALL


async def test_one_failure_ends_the_attempts_beside_it(tmp_path: Path) -> None:
    class Fails(ScriptedBench):
        gone = 0

        async def attempt(self, problem: Problem, seed: int) -> Attempted:
            if problem.position == 1:
                raise LeanUnavailable("no Node")
            try:
                await asyncio.Event().wait()
            finally:
                self.gone += 1
            raise AssertionError

    bench = Fails(workers=3)
    with pytest.raises(LeanUnavailable):
        await complete(tmp_path, bench)
    assert bench.gone == 2 and read_records(tmp_path) == []


# --- who gets what ----------------------------------------------------------------------------------


def modules(*names: str | None) -> list[Problem]:
    return [problem(number, name) for number, name in enumerate(names)]


def test_a_worker_stays_with_its_module() -> None:
    queue = JobQueue(jobs(modules("A", "A", "B", "B", "C"), [0]))
    taken = [(worker, job.problem.id) for worker in (0, 1, 0, 1, 1) if (job := queue.take(worker))]
    assert taken == [(0, "t0"), (1, "t2"), (0, "t1"), (1, "t3"), (1, "t4")]


def test_the_last_module_is_shared() -> None:
    queue = JobQueue(jobs(modules("A", "B", "B", "B"), [0]))
    taken = [(worker, job.problem.id) for worker in (0, 1, 0, 1) if (job := queue.take(worker))]
    assert taken == [(0, "t0"), (1, "t1"), (0, "t2"), (1, "t3")]
    assert queue.take(0) is None and queue.take(1) is None


@given(
    st.lists(st.sampled_from(["A", "B", "C", None])).map(lambda names: modules(*names)),
    st.lists(st.integers(0, 3)),
)
def test_every_job_is_handed_out_once(problems: list[Problem], workers: list[int]) -> None:
    everything = jobs(problems, SEEDS)
    queue = JobQueue(everything)
    taken = [queue.take(worker) for worker in workers]
    while (job := queue.take(0)) is not None:
        taken.append(job)
    keys = [job.key for job in taken if job is not None]
    assert sorted(keys) == sorted(job.key for job in everything)


@given(st.lists(st.sampled_from(["A", "B", None])).map(lambda names: modules(*names)))
def test_one_worker_goes_by_position(problems: list[Problem]) -> None:
    queue = JobQueue(jobs(reversed(problems), SEEDS))
    taken: list[Job] = []
    while (job := queue.take(0)) is not None:
        taken.append(job)
    assert [job.key for job in taken] == [(one.id, seed) for one in problems for seed in SEEDS]


def test_a_seed_that_is_given_twice_counts_once() -> None:
    assert [job.seed for job in jobs([problem(0)], [1, 0, 1])] == [1, 0]
