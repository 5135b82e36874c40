"""A generator that observes is told how each chunk of tactics went."""

from __future__ import annotations

from collections.abc import Sequence

from prover.environment import Scope
from prover.generators.base import Observer, Query, Tried
from prover.generators.perturbed import Perturbed
from prover.search.best_first import CHUNK, Budget, best_first_search
from tests.search.fake_environment import CRASH, FakeEnvironment, ScriptedGenerator

PLENTY = Budget(expansions=100, tactics=1000, seconds=60.0)
SCOPE = Scope(position=4)


class Watching(ScriptedGenerator):
    def __init__(self, *common: tuple[str, float]) -> None:
        super().__init__(*common)
        self.seen: list[tuple[Query, list[Tried]]] = []

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        self.seen.append((query, list(tried)))

    def told(self) -> list[tuple[str, bool]]:
        return [(it.tactic, it.worked) for _, tried in self.seen for it in tried]


async def test_is_told_what_worked_and_what_failed_at_which_state() -> None:
    environment = FakeEnvironment({"p": {"go": "q"}, "q": {"close": ""}})
    generator = Watching(("go", -0.5), ("close", -1.0), ("fail", -2.0))
    await best_first_search(environment, generator, PLENTY, statement="theorem p", seed=3, scope=SCOPE)
    (root, first), (deeper, second) = generator.seen
    assert first == [Tried("go", True), Tried("close", False), Tried("fail", False)]
    assert second == [Tried("go", False), Tried("close", True)], "up to the proof"
    assert root.state == environment.root and [goal.target for goal in deeper.state.goals] == ["q"]
    assert [step.tactic for step in deeper.history] == ["go"]
    assert {(q.statement, q.seed, q.scope) for q in (root, deeper)} == {("theorem p", 3, SCOPE)}


async def test_crashes_and_refusals_say_nothing_of_a_tactic() -> None:
    environment = FakeEnvironment({"p": {"die": CRASH}})
    generator = Watching(("die", -0.5), ("sorry", -0.7), ("fail", -1.0))
    await best_first_search(environment, generator, PLENTY)
    assert generator.told() == [("fail", False)]


async def test_is_told_after_each_chunk() -> None:
    environment = FakeEnvironment({"p": {}})
    tactics = [(f"t{number}", -1.0 - number) for number in range(CHUNK + 3)]
    generator = Watching(*tactics)
    await best_first_search(environment, generator, PLENTY)
    assert [len(tried) for _, tried in generator.seen] == [CHUNK, 3]


async def test_a_perturbed_generator_passes_it_on() -> None:
    generator = Watching(("fail", -1.0))
    perturbed = Perturbed(generator)
    assert isinstance(perturbed, Observer)
    await best_first_search(FakeEnvironment({"p": {}}), perturbed, PLENTY, seed=1)
    assert generator.told() == [("fail", False)]
    await best_first_search(FakeEnvironment({"p": {}}), Perturbed(ScriptedGenerator(("fail", -1.0))), PLENTY)


async def test_the_search_is_the_same_whether_it_is_observed_or_not() -> None:
    script = {"p": {"a": "q", "b": "r"}, "q": {"a": "r"}, "r": {"c": ""}}
    tactics = (("a", -1.0), ("b", -1.5), ("c", -2.0))
    trees = []
    for generator in (Watching(*tactics), ScriptedGenerator(*tactics)):
        result = await best_first_search(FakeEnvironment(script), generator, PLENTY)
        trees.append(result.tree.to_json())
    assert trees[0] == trees[1]
