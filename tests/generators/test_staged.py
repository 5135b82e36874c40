"""Schedules of generators: parts are made when their turn comes, and told what they missed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prover.choosing import check_generator, has_decoder, learns, mixture_of, needs_corpus, parts_of
from prover.errors import InputError
from prover.generators.base import (
    Candidate,
    Query,
    Step,
    TacticGenerator,
    Tried,
    content_hash,
    memory_hash,
    stage_of,
    stages_of,
)
from prover.generators.portfolio import Portfolio
from prover.generators.staged import Staged
from tests.generators.samples import LENGTH, query


class Pupil:
    """Proposes its name, and remembers all that it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[str] = []

    @property
    def memory_hash(self) -> str:
        return "-".join(self.told)

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        self.told += [step.tactic for step in proof]

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        self.told += [it.tactic for it in tried]

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [[Candidate(self.name, -1.0)] for _ in queries]


class School:
    """Makes pupils, and knows which."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.pupils = {name: Pupil(name) for name in ("portfolio", "knn", "decoder")}

    def staged(self, *stages: list[str]) -> Staged:
        def maker(name: str):  # type: ignore[no-untyped-def]
            async def make() -> TacticGenerator:
                self.made.append(name)
                return self.pupils[name]

            return make

        names = [name for stage in stages for name in stage]
        return Staged({name: maker(name) for name in names}, stages, mixture_of)


async def test_parts_are_made_when_their_turn_comes_and_once() -> None:
    school = School()
    staged = school.staged(["portfolio"], ["knn", "decoder"])
    assert (staged.name, stages_of(staged)) == ("portfolio,knn+decoder", 2)
    first = await stage_of(staged, 0)
    assert school.made == ["portfolio"] and first is school.pupils["portfolio"]
    second = await stage_of(staged, 1)
    assert await stage_of(staged, 1) is second
    assert school.made == ["portfolio", "knn", "decoder"]
    ((*candidates,),) = await second.generate([query(LENGTH)])
    assert {c.tactic for c in candidates} == {"portfolio", "knn", "decoder"}
    assert await staged.generate([query(LENGTH)]) == [candidates]


async def test_what_is_told_before_a_part_is_made_is_told_it_then_and_once() -> None:
    school = School()
    staged = school.staged(["portfolio"], ["knn"], ["decoder"])
    await staged.stage(0)
    staged.learn([Step(("⊢ p",), "early")], 3)
    await staged.stage(1)
    staged.observe(query(LENGTH), [Tried("middle", True)])
    await staged.stage(2)
    staged.learn([Step(("⊢ p",), "late")], None)
    for pupil in school.pupils.values():
        assert pupil.told == ["early", "middle", "late"]
    assert memory_hash(staged) != ""


async def test_another_order_is_another_generator() -> None:
    hashes = set()
    for stages in ([["portfolio"], ["knn"]], [["knn"], ["portfolio"]], [["portfolio", "knn"]]):
        staged = School().staged(*stages)
        await staged.generate([])
        hashes.add(content_hash(staged))
    assert len(hashes) == 3


async def test_a_generator_without_stages_is_its_only_stage() -> None:
    portfolio = Portfolio()
    assert stages_of(portfolio) == 1 and await stage_of(portfolio, 0) is portfolio


def test_names() -> None:
    for name in ("portfolio,knn", "portfolio+knn,decoder", "portfolio,knn,decoder"):
        check_generator(name)
    assert parts_of("portfolio+knn,decoder") == ["portfolio", "knn", "decoder"]
    assert has_decoder("portfolio,decoder") and not has_decoder("portfolio,knn")
    assert learns("portfolio,knn") and needs_corpus("portfolio,knn")


@pytest.mark.parametrize("name", ["portfolio,", ",knn", "portfolio,portfolio", "portfolio,,knn", "a,b"])
def test_no_such_generator(name: str) -> None:
    with pytest.raises(InputError, match="there is no generator"):
        check_generator(name)
