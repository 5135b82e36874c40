"""What the agent proves, a generator that learns is taught before the next attempt."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from prover import agent
from prover.environment import ANY_SCOPE, Scope
from prover.generators.base import Step, TacticGenerator
from prover.reports import Options
from tests.search.fake_environment import FakeEnvironment, ScriptedGenerator

SCRIPT = {"p": {"split": "q r"}, "q": {"close": ""}, "r": {"close": ""}}
TACTICS = (("split", -0.5), ("close", -1.0))


class Dojo(FakeEnvironment):
    async def scope(self, position: int | None = None) -> Scope:
        return ANY_SCOPE

    async def close(self) -> None:
        """Nothing is held."""


class Learning(ScriptedGenerator):
    def __init__(self, *common: tuple[str, float]) -> None:
        super().__init__(*common)
        self.learned: list[tuple[list[Step], int | None]] = []

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        self.learned.append((list(proof), position))


async def attempt(generator: TacticGenerator, script: Any) -> Any:
    dojo = Dojo(script)
    options = Options(
        timeout=60.0,
        max_expansions=20,
        max_tactics=100,
        workers=1,
        seed=0,
        generator="portfolio",
        lean=None,
        theorems=(),
    )
    story: Any = SimpleNamespace(
        theorems=SimpleNamespace(statement_before=lambda place: "theorem p"),
        file=SimpleNamespace(crashes=0),
        dojo=dojo,
        generator=generator,
        options=options,
        on_event=lambda event: None,
        number=1,
        total=1,
    )
    sorry: Any = SimpleNamespace(
        is_prop=True, declaration="p", goal=dojo.root.goals[0], start=SimpleNamespace(byte=0)
    )
    return await agent._attempt(story, sorry)


async def test_a_proof_is_taught_with_the_goals_of_its_steps() -> None:
    generator = Learning(*TACTICS)
    assert (await attempt(generator, SCRIPT)).found is not None
    ((proof, position),) = generator.learned
    assert position is None
    assert [(step.goals, step.tactic) for step in proof] == [
        (("⊢ p",), "split"),
        (("⊢ q", "⊢ r"), "close"),
        (("⊢ r",), "close"),
    ]


async def test_where_there_is_no_proof_there_is_nothing_to_learn() -> None:
    generator = Learning(*TACTICS)
    assert (await attempt(generator, {"p": {}})).found is None and generator.learned == []


async def test_who_does_not_learn_is_not_taught() -> None:
    assert (await attempt(ScriptedGenerator(*TACTICS), SCRIPT)).found is not None
