"""Best-first search, against a scripted environment and a scripted generator."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from prover.environment import Outcome, TacticState
from prover.errors import LeanUnavailable
from prover.generators.base import Candidate, Query
from prover.search.best_first import CHUNK, Budget, Progress, SearchStatus, best_first_search
from prover.search.tree import Kind, Status
from tests.search.fake_environment import CRASH, FakeEnvironment, ScriptedGenerator

PLENTY = Budget(expansions=1000, tactics=100_000, seconds=60.0)
FOREVER = 3600.0


def only_root_alive(environment: FakeEnvironment) -> bool:
    return environment.alive == {()}


async def test_finds_the_proof_and_its_path() -> None:
    environment = FakeEnvironment({"p": {"split": "q r"}, "q": {"close": ""}, "r": {"close": ""}})
    generator = ScriptedGenerator(("split", -0.5), ("close", -1.0))
    result = await best_first_search(environment, generator, PLENTY, statement="p", length_exponent=0.0)
    assert result.status is SearchStatus.PROVED
    assert result.proof == ("split", "close", "close")
    assert result.proof == result.tree.proof()
    assert (result.counts.expansions, result.counts.tactics, result.counts.errors) == (3, 6, 3)
    assert result.counts.lean_seconds == 6 * 0.25
    assert result.tree.statuses() == [Status.PROVED] * 3
    result.tree.check_invariants()
    assert only_root_alive(environment)


async def test_expands_the_most_probable_state_first() -> None:
    environment = FakeEnvironment({"p": {"a": "q", "b": "r"}, "q": {}, "r": {}})
    generator = ScriptedGenerator(("a", -2.0), ("b", -1.0))
    result = await best_first_search(environment, generator, PLENTY)
    visits = {node.goals: node.visit for node in result.tree.nodes}
    assert visits == {("⊢ p",): 0, ("⊢ r",): 1, ("⊢ q",): 2}


@pytest.mark.parametrize(("exponent", "expected"), [(0.0, "shallow"), (1.0, "deep")])
async def test_length_exponent_decides_between_deep_and_shallow(exponent: float, expected: str) -> None:
    """Sums: deep -2, shallow -1.5. Means: deep -1, shallow -1.5."""
    environment = FakeEnvironment(
        {"p": {"a": "mid", "b": "shallow"}, "mid": {"a": "deep"}, "deep": {"c": ""}, "shallow": {"c": ""}}
    )
    table = {
        "p": [("a", -1.0), ("b", -1.5)],
        "mid": [("a", -1.0)],
        "deep": [("c", -0.1)],
        "shallow": [("c", -0.1)],
    }
    result = await best_first_search(
        environment, ScriptedGenerator(table=table), PLENTY, length_exponent=exponent
    )
    assert result.proof == (("b", "c") if expected == "shallow" else ("a", "a", "c"))


async def test_ties_go_to_the_older_state() -> None:
    environment = FakeEnvironment({"p": {"a": "q", "b": "r"}, "q": {"a": "s"}, "r": {"a": "t"}})
    generator = ScriptedGenerator(("a", -1.0), ("b", -1.0))
    result = await best_first_search(environment, generator, PLENTY, length_exponent=1.0)
    order = sorted((n for n in result.tree.nodes if n.visit is not None), key=lambda n: n.visit or 0)
    assert [node.goals[0] for node in order] == ["⊢ p", "⊢ q", "⊢ r", "⊢ s", "⊢ t"]


async def test_same_state_again_is_no_new_node_and_is_dropped() -> None:
    environment = FakeEnvironment({"p": {"a": "q", "b": "q", "skip": "p"}, "q": {}})
    generator = ScriptedGenerator(("a", -1.0), ("b", -1.5), ("skip", -2.0))
    result = await best_first_search(environment, generator, PLENTY)
    assert result.status is SearchStatus.EXHAUSTED
    assert result.counts.duplicates == 2
    assert [edge.child for edge in result.tree.root.edges] == [1, 1, 0]
    assert [state.path for state in environment.dropped][:2] == [("b",), ("skip",)]
    assert result.tree.statuses() == [Status.FAILED, Status.FAILED]
    assert only_root_alive(environment)


async def test_crashes_are_counted_apart_from_errors() -> None:
    environment = FakeEnvironment({"p": {"boom": CRASH, "close": ""}})
    generator = ScriptedGenerator(("boom", -0.1), ("wrong", -0.2), ("close", -0.3))
    result = await best_first_search(environment, generator, PLENTY)
    assert (result.counts.crashes, result.counts.errors) == (1, 1)
    assert result.proof == ("close",)
    crash = result.tree.root.edges[0]
    assert crash.kind is Kind.CRASH
    assert "exit code -9" in crash.message


async def test_hostile_candidates_never_reach_lean() -> None:
    environment = FakeEnvironment({"p": {"close": "", "sorry": "", "exact (sorry)": ""}})
    generator = ScriptedGenerator(
        ("sorry", -0.1),
        ("exact (sorry)", -0.1),
        ("close\ntheorem q : False := r", -0.1),
        ("close", math.nan),
        ("close", 5.0),
        ("close", -math.inf),
        ("other", -2.0),
        ("close", -1.0),
        ("close", -3.0),
    )
    result = await best_first_search(environment, generator, PLENTY)
    assert [tactic for _, tactic in environment.calls] == ["close"]
    assert result.proof == ("close",)
    assert result.counts.refused == 6
    result.tree.check_invariants()
    refused = [edge for edge in result.tree.root.edges if edge.kind is Kind.REFUSED]
    assert len(refused) == 6
    assert all(edge.message and math.isfinite(edge.logprob) for edge in refused)


async def test_proof_ends_a_chunk_early_and_later_chunks_are_not_run() -> None:
    environment = FakeEnvironment({"p": {"t3": ""}})
    generator = ScriptedGenerator(*((f"t{i}", -0.1 * (i + 1)) for i in range(3 * CHUNK)))
    result = await best_first_search(environment, generator, PLENTY)
    assert result.proof == ("t3",)
    assert result.counts.tactics == 4
    assert environment.chunks == [CHUNK]


# --- budgets --------------------------------------------------------------------------------------


class Endless(FakeEnvironment):
    """Every tactic leads to a new state."""

    def _result(self, state: TacticState, tactic: str) -> TacticState:
        name = state.goals[0].target + tactic
        return TacticState((type(state.goals[0])((), name, f"⊢ {name}", "", "", ()),), (*state.path, tactic))


TEN_TACTICS = tuple((f"t{i}", -1.0 - 0.01 * i) for i in range(10))


async def test_budget_of_expansions() -> None:
    environment = Endless({})
    result = await best_first_search(
        environment, ScriptedGenerator(*TEN_TACTICS), Budget(expansions=7, seconds=FOREVER)
    )
    assert result.status is SearchStatus.BUDGET_EXPANSIONS
    assert (result.counts.expansions, result.counts.tactics) == (7, 70)
    assert only_root_alive(environment)
    result.tree.check_invariants()


@pytest.mark.parametrize("workers", [1, 3])
async def test_budget_of_tactics_is_never_exceeded(workers: int) -> None:
    environment = Endless({}, workers=workers)
    result = await best_first_search(
        environment, ScriptedGenerator(*TEN_TACTICS), Budget(tactics=33, seconds=FOREVER)
    )
    assert result.status is SearchStatus.BUDGET_TACTICS
    assert result.counts.tactics == 33 == len(environment.calls)
    assert only_root_alive(environment)
    result.tree.check_invariants()


async def test_budget_of_seconds_stops_between_chunks() -> None:
    environment = Endless({}, delay=0.05)
    result = await best_first_search(environment, ScriptedGenerator(*TEN_TACTICS), Budget(seconds=0.12))
    assert result.status is SearchStatus.BUDGET_SECONDS
    assert 0 < result.counts.tactics < 1000
    assert only_root_alive(environment)
    result.tree.check_invariants()


async def test_budget_of_seconds_ends_a_hanging_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.search.best_first.GRACE_SECONDS", 0.02)
    environment = Endless({}, delay=FOREVER)
    result = await best_first_search(environment, ScriptedGenerator(*TEN_TACTICS), Budget(seconds=0.05))
    assert result.status is SearchStatus.BUDGET_SECONDS
    assert environment.running == 0
    assert result.tree.statuses() == [Status.OPEN]


async def test_no_budget_at_all() -> None:
    generator = ScriptedGenerator(("close", -1.0))
    environment = FakeEnvironment({"p": {"close": ""}})
    result = await best_first_search(environment, generator, Budget(expansions=0))
    assert result.status is SearchStatus.BUDGET_EXPANSIONS
    result = await best_first_search(environment, generator, Budget(seconds=0.0))
    assert result.status is SearchStatus.BUDGET_SECONDS
    assert environment.calls == []


async def test_generator_without_ideas_exhausts_the_search() -> None:
    result = await best_first_search(FakeEnvironment({}), ScriptedGenerator(), PLENTY)
    assert result.status is SearchStatus.EXHAUSTED
    assert result.tree.statuses() == [Status.FAILED]


# --- workers, events, faults ----------------------------------------------------------------------


async def test_workers_expand_side_by_side_and_queries_are_batched() -> None:
    environment = Endless({}, workers=3, delay=0.001)
    generator = ScriptedGenerator(*TEN_TACTICS)
    result = await best_first_search(environment, generator, Budget(expansions=20, seconds=FOREVER))
    assert environment.most_running == 3
    assert max(generator.batches) > 1
    assert result.counts.expansions == 20
    result.tree.check_invariants()
    assert only_root_alive(environment)


async def test_proof_is_found_while_another_worker_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.search.best_first.GRACE_SECONDS", 0.02)

    class HangsOnQ(FakeEnvironment):
        async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
            if state.goals[0].target == "q":
                await asyncio.sleep(FOREVER)
            return await super().run_tacs(state, tactics)

    environment = HangsOnQ({"p": {"a": "q", "b": "r"}, "r": {"a": ""}}, workers=2)
    result = await best_first_search(environment, ScriptedGenerator(("a", -1.0), ("b", -1.0)), PLENTY)
    assert result.proof == ("b", "a")
    assert only_root_alive(environment)


async def test_one_worker_is_deterministic() -> None:
    calls = []
    for _ in range(2):
        environment = Endless({})
        budget = Budget(expansions=30, seconds=FOREVER)
        await best_first_search(environment, ScriptedGenerator(*TEN_TACTICS), budget, seed=1)
        calls.append(environment.calls)
    assert calls[0] == calls[1]


async def test_queries_carry_history_statement_and_seed() -> None:
    environment = FakeEnvironment({"p": {"a": "q"}, "q": {"b": "r"}, "r": {"c": ""}})
    generator = ScriptedGenerator(("a", -1.0), ("b", -1.0), ("c", -1.0))
    await best_first_search(environment, generator, PLENTY, statement="theorem t : p", seed=7)
    last = generator.queries[-1]
    assert [(step.goals, step.tactic) for step in last.history] == [(("⊢ p",), "a"), (("⊢ q",), "b")]
    assert (last.state.pretty, last.statement, last.seed) == ("⊢ r", "theorem t : p", 7)
    assert generator.queries[0].history == ()


async def test_an_event_after_each_chunk() -> None:
    environment = FakeEnvironment({"p": {"t0": "q"}, "q": {"t9": ""}})
    events: list[Progress] = []
    await best_first_search(
        environment, ScriptedGenerator(*TEN_TACTICS), PLENTY, statement="p", on_event=events.append
    )
    seen = [(event.counts.expansions, event.counts.tactics, event.best_goal) for event in events]
    assert seen == [(1, 8, "⊢ p"), (2, 16, "⊢ q"), (2, 18, "⊢ p"), (2, 20, "⊢ q")]


async def test_cancelling_leaves_a_sound_tree_and_no_state_behind() -> None:
    environment = Endless({}, workers=2, delay=0.001)
    events: list[Progress] = []
    search = asyncio.create_task(
        best_first_search(
            environment,
            ScriptedGenerator(*TEN_TACTICS),
            Budget(expansions=10**6, seconds=FOREVER),
            on_event=events.append,
        )
    )
    while len(events) < 5:
        await asyncio.sleep(0.001)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    tree = events[-1].tree
    tree.check_invariants()
    assert len(tree.nodes) > 5
    assert environment.running == 0
    assert only_root_alive(environment)


async def test_lean_that_cannot_be_started_ends_the_search() -> None:
    class Broken(FakeEnvironment):
        async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
            if state.path:
                raise LeanUnavailable("no memory left")
            return await super().run_tacs(state, tactics)

    environment = Broken({"p": {"a": "q"}})
    with pytest.raises(LeanUnavailable, match="no memory"):
        await best_first_search(environment, ScriptedGenerator(("a", -1.0)), PLENTY)
    assert only_root_alive(environment)


async def test_generator_must_answer_every_query() -> None:
    class Mute(ScriptedGenerator):
        async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
            return []

    with pytest.raises(ValueError, match="0 answers to 1 queries"):
        await best_first_search(FakeEnvironment({}), Mute(), PLENTY)


async def test_time_out_inside_the_generator_is_not_taken_for_the_budget() -> None:
    class Slow(ScriptedGenerator):
        async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
            raise TimeoutError("the model's server")

    with pytest.raises(TimeoutError, match="model's server"):
        await best_first_search(FakeEnvironment({}), Slow(), PLENTY)


class Batching(ScriptedGenerator):
    """Likes to be asked about several states at once."""

    def __init__(self, batch: int, *tactics: tuple[str, float]) -> None:
        super().__init__(*tactics)
        self.batch = batch


async def test_a_batch_is_filled_with_the_states_that_are_next_and_changes_nothing() -> None:
    script = {
        "p": {"a": "q", "b": "r", "c": "s"},
        "q": {"a": "t"},
        "r": {"a": "u"},
        "s": {},
        "t": {},
        "u": {},
    }
    one, many = (Batching(batch, ("a", -1.0), ("b", -1.5), ("c", -2.0)) for batch in (1, 3))
    trees = [
        (await best_first_search(FakeEnvironment(script), generator, PLENTY)).tree.to_json()
        for generator in (one, many)
    ]
    assert trees[0] == trees[1]
    assert one.batches == [1] * 6
    assert many.batches == [1, 3, 1, 1], "q, r and s together; t and u come up one after the other"


async def test_no_state_is_asked_about_that_no_expansion_is_left_for() -> None:
    generator = Batching(8, ("a", -1.0), ("b", -1.5), ("c", -2.0))
    environment = FakeEnvironment({"p": {"a": "q", "b": "r", "c": "s"}})
    await best_first_search(environment, generator, Budget(expansions=2))
    assert generator.batches == [1, 1]


async def test_a_search_for_all_proofs_goes_on_after_the_first() -> None:
    script = {"p": {"a": "", "b": "q", "c": ""}, "q": {"a": ""}}
    generator = ScriptedGenerator(("a", -1.0), ("b", -1.5), ("c", -2.0))
    environment = FakeEnvironment(script)
    result = await best_first_search(environment, generator, PLENTY, find_all=True)
    assert result.status is SearchStatus.PROVED
    assert result.proofs == (("a",), ("c",), ("b", "a"))
    assert (result.proof, result.proved_after, result.counts.tactics) == (("a",), 1, 6)
    result.tree.check_invariants()
    assert only_root_alive(environment)
    one = await best_first_search(FakeEnvironment(script), generator, PLENTY)
    assert (one.proofs, one.proved_after) == ((("a",),), 1)
    none = await best_first_search(FakeEnvironment({}), generator, PLENTY, find_all=True)
    assert (none.proofs, none.proved_after) == ((), 3) and none.status is SearchStatus.EXHAUSTED


async def test_tactics_behind_a_proof_in_a_chunk_are_not_counted_twice() -> None:
    generator = ScriptedGenerator(*((f"t{n}", -1.0 - n) for n in range(CHUNK)))
    environment = FakeEnvironment({"p": {"t0": "", "t3": ""}})
    result = await best_first_search(environment, generator, Budget(tactics=5), find_all=True)
    assert (result.proofs, result.counts.tactics) == ((("t0",), ("t3",)), 5)
    assert result.status is SearchStatus.PROVED


async def test_unlikely_tactics_wait_until_likely_states_had_their_turn() -> None:
    """Ten tactics a state, of which the last leads astray and the first to a state that its ninth proves."""
    table = {
        "p": [(f"t{n}", -1.0 - n) for n in range(10)],
        "q": [(f"t{n}", -0.1 - 0.01 * n) for n in range(10)],
    }
    environment = FakeEnvironment({"p": {"t0": "q", "t9": "r"}, "q": {"t8": ""}})
    result = await best_first_search(environment, ScriptedGenerator(table=table), PLENTY, length_exponent=0.0)
    assert result.proof == ("t0", "t8")
    assert ("⊢ p", "t8") not in environment.calls, "the root's second chunk was not worth its turn"
    root, child = result.tree.nodes
    assert (root.expanded, child.expanded) == (False, False)
    result.tree.check_invariants()
    assert only_root_alive(environment)


async def test_every_tactic_has_its_turn_in_the_end() -> None:
    tactics = [(f"t{n}", -1.0 - n) for n in range(3 * CHUNK + 1)]
    environment = FakeEnvironment({"p": {"t0": "q", f"t{3 * CHUNK}": ""}})
    result = await best_first_search(environment, ScriptedGenerator(*tactics), PLENTY)
    assert result.proof == (f"t{3 * CHUNK}",)
    assert len(set(environment.calls)) == len(environment.calls)


async def test_states_under_expansion_are_finished_when_no_new_one_may_be_begun() -> None:
    tactics = [(f"t{n}", -1.0 - n) for n in range(CHUNK + 2)]
    environment = FakeEnvironment({"p": {"t0": "q"}, "q": {"t0": ""}})
    result = await best_first_search(environment, ScriptedGenerator(*tactics), Budget(expansions=1))
    assert result.status is SearchStatus.BUDGET_EXPANSIONS
    assert result.counts.tactics == CHUNK + 2 and result.tree.root.expanded
