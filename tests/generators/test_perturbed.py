"""Seeds: another order for each, the same tactics, and seed 0 as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from prover.environment import TacticState
from prover.generators.base import Candidate, Query
from prover.generators.perturbed import Perturbed
from prover.lean.messages import Goal

STATE = TacticState((Goal((), "p", "⊢ p", "", "", ()),), ())


class Fixed:
    name = "fixed"

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = list(candidates)

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [self._candidates for _ in queries]


async def ask(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return (await Perturbed(Fixed(candidates)).generate([Query(STATE, (), "p", seed)]))[0]


EVEN = [Candidate(f"t{i}", math.log(1 / 20)) for i in range(20)]


async def test_seed_0_changes_nothing() -> None:
    assert await ask(EVEN, 0) == EVEN


async def test_each_seed_has_an_order_of_its_own() -> None:
    orders = [tuple(c.tactic for c in await ask(EVEN, seed)) for seed in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]


async def test_what_is_likely_mostly_stays_first() -> None:
    skewed = [Candidate("likely", math.log(0.95)), Candidate("unlikely", math.log(0.05))]
    firsts = [(await ask(skewed, seed))[0].tactic for seed in range(1, 201)]
    assert 160 < firsts.count("likely") < 200


@given(st.lists(st.floats(-700, 0), max_size=30), st.integers(1, 1000))
async def test_it_stays_a_distribution_over_the_same_tactics(logprobs: list[float], seed: int) -> None:
    candidates = [Candidate(f"t{i}", value) for i, value in enumerate(logprobs)]
    answer = await ask(candidates, seed)
    assert {c.tactic for c in answer} == {c.tactic for c in candidates}
    assert all(c.logprob <= 0.0 for c in answer)
    assert [c.logprob for c in answer] == sorted((c.logprob for c in answer), reverse=True)
    if answer:
        assert math.isclose(sum(math.exp(c.logprob) for c in answer), 1.0)
