"""A search with generators that join one after the other, against a scripted environment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from prover.environment import Outcome, TacticState
from prover.generators.base import Candidate, Query, TacticGenerator
from prover.generators.perturbed import Perturbed
from prover.search.best_first import Budget, SearchResult, SearchStatus, best_first_search
from tests.search.fake_environment import FakeEnvironment, ScriptedGenerator

PLENTY = Budget(expansions=1000, tactics=100_000, seconds=60.0)
#: A way of two steps that only the second generator knows, and a chain that leads nowhere.
SCRIPT = {"p": {"on": "a", "turn": "q"}, "a": {"on": "b"}, "b": {"on": "c"}, "c": {}, "q": {"close": ""}}


class Schedule:
    """Stages that are there, or that take their time to be made."""

    name = "schedule"

    def __init__(self, *parts: TacticGenerator, delay: float = 0.0) -> None:
        self.parts = parts
        self.stages = len(parts)
        self.delay = delay
        self.asked: list[int] = []

    async def stage(self, number: int) -> TacticGenerator:
        self.asked.append(number)
        await asyncio.sleep(self.delay if number else 0.0)
        return self.parts[number]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return await self.parts[-1].generate(queries)


def schedule(delay: float = 0.0) -> Schedule:
    quick = ScriptedGenerator(("on", -0.5), ("off", -1.0))
    slow = ScriptedGenerator(("on", -0.5), ("off", -1.0), ("turn", -1.5), ("close", -2.0))
    return Schedule(quick, slow, delay=delay)


async def search(
    generator: TacticGenerator, budget: Budget = PLENTY, workers: int = 1
) -> tuple[SearchResult, FakeEnvironment]:
    environment = FakeEnvironment(SCRIPT, workers=workers)
    result = await best_first_search(environment, generator, budget)
    result.tree.check_invariants()
    assert environment.alive == {()}, "states are left in Lean"
    return result, environment


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_second_joins_when_the_first_has_nothing_more_to_say(workers: int) -> None:
    generator = schedule()
    result, environment = await search(generator, workers=workers)
    assert result.proof == ("turn", "close")
    assert generator.asked == [0, 1]
    assert len(environment.calls) == len(set(environment.calls)), "a tactic was run twice at a state"
    first, second = generator.parts
    assert isinstance(first, ScriptedGenerator) and isinstance(second, ScriptedGenerator)
    assert [len(query.tried) for query in first.queries] == [0, 0, 0, 0]
    assert second.queries[0].tried == {"on", "off"}


async def test_a_proof_of_the_first_never_asks_for_the_second() -> None:
    generator = Schedule(ScriptedGenerator(("turn", -0.5), ("close", -0.5)), ScriptedGenerator())
    result, _ = await search(generator)
    assert result.status is SearchStatus.PROVED and generator.asked == [0]


@pytest.mark.parametrize(("budget", "states"), [(Budget(expansions=4), 2), (Budget(tactics=8), 2)])
async def test_each_stage_has_its_share_of_the_budget(budget: Budget, states: int) -> None:
    """The chain is long enough for the whole budget; the first stage may spend half of it."""
    generator = schedule()
    result, _ = await search(generator, budget)
    first = generator.parts[0]
    assert isinstance(first, ScriptedGenerator) and len(first.queries) == states
    assert generator.asked == [0, 1]
    spent = (result.counts.expansions, result.counts.tactics)
    assert spent[0] <= budget.expansions and spent[1] <= budget.tactics


async def test_expansions_are_counted_again_and_turns_are_not() -> None:
    result, _ = await search(schedule(), Budget(expansions=10))
    assert result.status is SearchStatus.PROVED
    assert result.counts.expansions == 4 + 4 + 1  # p and its chain, the same again, q
    visits = sorted(node.visit for node in result.tree.nodes if node.visit is not None)
    assert visits == list(range(len(visits)))


async def test_the_clock_stands_still_while_a_stage_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.search.best_first.GRACE_SECONDS", 0.05)
    result, _ = await search(schedule(delay=0.6), Budget(seconds=0.3))
    assert result.proof == ("turn", "close")
    assert result.seconds < 0.3


async def test_a_hanging_lean_still_ends_on_the_clock_in_the_second_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(FakeEnvironment):
        async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
            if "turn" in tactics:
                await asyncio.sleep(3600.0)
            return await super().run_tacs(state, tactics)

    monkeypatch.setattr("prover.search.best_first.GRACE_SECONDS", 0.05)
    environment = Hanging(SCRIPT)
    result = await best_first_search(environment, schedule(delay=0.2), Budget(seconds=0.2))
    assert result.status is SearchStatus.BUDGET_SECONDS
    assert environment.alive == {()}


async def test_a_stage_change_while_others_are_at_work_runs_nothing_twice() -> None:
    class Slow(FakeEnvironment):
        async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
            await asyncio.sleep(0.05 if state.path else 0.0)
            return await super().run_tacs(state, tactics)

    script = {"p": {"on": "a", "off": "d", "turn": "q"}, "a": {}, "d": {}, "q": {"close": ""}}
    environment = Slow(script, workers=2)
    result = await best_first_search(environment, schedule(), Budget(seconds=0.04))
    assert len(environment.calls) == len(set(environment.calls))
    result.tree.check_invariants()
    assert environment.alive == {()}


async def test_another_seed_is_another_search_in_each_stage() -> None:
    wrapped = Perturbed(schedule())
    assert wrapped.stages == 2
    result = await best_first_search(FakeEnvironment(SCRIPT), wrapped, PLENTY, seed=3)
    assert result.proof == ("turn", "close")
    logprobs = {edge.tactic: edge.logprob for edge in result.tree.root.edges}
    assert logprobs["on"] not in (-0.5, 0.0)
