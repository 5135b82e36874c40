"""The runner over a real Ray cluster of two nodes on this machine, one of which is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import ray
from ray.cluster_utils import Cluster

from eval.benchmarks.base import Problem
from eval.over_ray import RayBench
from eval.ray_cluster import connected
from eval.records import Status
from eval.runner import run
from eval.store import RunStore, read_records, read_trees
from prover.errors import InputError, LeanUnavailable
from tests.eval.scripted import PLAN, SEEDS, Attempted, ScriptedBench, problem

#: Each node has room for one actor.
NODE = {"num_cpus": 1, "object_store_memory": 100 * 1024**2}
RESOURCES = {"num_cpus": 1}
#: So that a lost node is noticed in a few seconds (by default it takes half a minute).
NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
PROBLEMS = [problem(number) for number in range(12)]
ALL = {(one.id, seed) for one in PROBLEMS for seed in SEEDS}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {**NODE, "include_dashboard": False, "_system_config": NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**NODE)
    with connected(cluster.address):
        yield cluster
    cluster.shutdown()


class NodeBench(ScriptedBench):
    """Tells in its records on which node they were made."""

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        made = await super().attempt(problem, seed)
        return replace(made, record=replace(made.record, machine=ray.get_runtime_context().get_node_id()))


class GatedBench(NodeBench):
    """On the node that stays, later theorems wait until a new node has attempted one."""

    def __init__(self, stays: str, goes: str, gate: Path) -> None:
        super().__init__(seconds=0.1)
        self.nodes = (stays, goes)
        self.gate = gate

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        here = ray.get_runtime_context().get_node_id()
        if here not in self.nodes:
            self.gate.touch()
        while here == self.nodes[0] and problem.position >= 6 and not self.gate.exists():
            await asyncio.sleep(0.05)
        return await super().attempt(problem, seed)


class PoisonedBench(NodeBench):
    """One attempt ends the process, and with it the actor."""

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        if (problem.position, seed) == (1, 0):
            os._exit(1)
        return await super().attempt(problem, seed)


class DifferentBench(NodeBench):
    """Every node has another Lean."""

    async def __aenter__(self) -> Self:
        self.lean = ray.get_runtime_context().get_node_id()
        return self


class FailingBench(ScriptedBench):
    """Cannot be started."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def __aenter__(self) -> Self:
        raise self.error


async def complete(folder: Path, make: Callable[[], Any], workers: int | None = 2) -> None:
    async with RayBench(make, workers, RESOURCES) as bench:
        with RunStore(folder, PLAN) as store:
            await run(PROBLEMS, SEEDS, bench, store, lambda event: None, online=True)


def machines(folder: Path) -> set[str]:
    return {one.machine for one in read_records(folder)} if (folder / "plan.json").exists() else set()


async def wait_for(work: asyncio.Task[None], enough: Callable[[], bool]) -> None:
    while not enough():
        assert not work.done(), work
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:ray", "auto"])
def test_an_address_without_a_cluster(address: str) -> None:
    with pytest.raises(InputError, match="no Ray cluster at") as refused, connected(address):
        pass
    assert "ray start --head" in str(refused.value)


async def test_a_lost_node_loses_nothing_and_doubles_nothing(nodes: Cluster, tmp_path: Path) -> None:
    stays, (goes,) = nodes.head_node, nodes.worker_nodes
    make = partial(GatedBench, stays.node_id, goes.node_id, tmp_path / "gate")
    work = asyncio.create_task(complete(tmp_path / "run", make))
    await wait_for(work, lambda: machines(tmp_path / "run") == {stays.node_id, goes.node_id})
    before = read_records(tmp_path / "run")
    nodes.remove_node(goes, allow_graceful=False)
    new = nodes.add_node(**NODE)
    await work

    records = read_records(tmp_path / "run")
    assert {one.key for one in records} == ALL == set(read_trees(tmp_path / "run"))
    assert all((one.status is Status.PROVED) == (one.position % 3 != 2) for one in records)
    # The new node took part, and was told what had been learned before.
    late = [one for one in records if one.machine == new.node_id]
    assert late and all(one not in before for one in late)
    known = sum(one.status is Status.PROVED for one in before)
    assert all(int(one.message.split()[0]) >= known for one in late if one.position >= 6)


async def test_a_theorem_that_ends_its_workers_is_given_up(nodes: Cluster, tmp_path: Path) -> None:
    await complete(tmp_path, PoisonedBench)
    records = {one.key: one for one in read_records(tmp_path)}
    assert set(records) == ALL
    lost = [one for one in records.values() if one.status is Status.INFRASTRUCTURE]
    assert [(one.problem, one.tries, one.error_kind) for one in lost] == [("t1", 3, "worker_lost")]
    assert "3 workers were lost over it" in lost[0].message


async def test_as_many_workers_as_there_is_room(nodes: Cluster, tmp_path: Path) -> None:
    async with RayBench(NodeBench, None, RESOURCES) as bench:
        assert bench.workers == 2 and bench.lean == "none"
    with pytest.raises(InputError, match="no room for a worker, which takes num_cpus 500"):
        RayBench(NodeBench, None, {"num_cpus": 500})


async def test_nodes_that_differ_are_refused(nodes: Cluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="install the same version"):
        await complete(tmp_path, partial(DifferentBench, seconds=0.2))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LeanUnavailable("no Node on this machine"), "^no Node on this machine$"),
        (ValueError("a fault of the program"), "a worker failed: ValueError"),
    ],
)
async def test_a_bench_that_cannot_be_started(
    nodes: Cluster, tmp_path: Path, error: Exception, text: str
) -> None:
    with pytest.raises(LeanUnavailable, match=text):
        await complete(tmp_path, partial(FailingBench, error=error))


async def test_a_cancelled_run_can_go_on(nodes: Cluster, tmp_path: Path) -> None:
    work = asyncio.create_task(complete(tmp_path, partial(NodeBench, seconds=0.5)))
    await wait_for(work, lambda: len(machines(tmp_path)) >= 1)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert 1 <= len(read_records(tmp_path)) < len(ALL)
    await complete(tmp_path, NodeBench)
    assert {one.key for one in read_records(tmp_path)} == ALL
