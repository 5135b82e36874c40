"""Generators that are made of others tell those that observe."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prover.decoder.judging import Judged
from prover.generators.base import Candidate, Observer, Query, TacticGenerator, Tried
from prover.generators.mixture import Mixture
from prover.generators.portfolio import Portfolio
from tests.generators.samples import LENGTH, query


class Watching:
    name = "watching"
    judges = True

    def __init__(self) -> None:
        self.seen: list[tuple[Query, Sequence[Tried]]] = []

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        self.seen.append((query, tried))

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [[] for _ in queries]

    async def judge(
        self, queries: Sequence[Query], tactics: Sequence[Sequence[str]]
    ) -> list[list[float | None]]:
        return [[None for _ in own] for own in tactics]


TRIED = [Tried("simp", True), Tried("omega", False)]


@pytest.mark.parametrize("kind", ["mixture", "judged", "judged mixture"])
def test_is_passed_on(kind: str) -> None:
    watching = Watching()
    inner: TacticGenerator = watching
    if "mixture" in kind:
        inner = Mixture([(Portfolio(), 1.0), (watching, 1.0)])
    outer = Judged(inner, watching, 1.0) if "judged" in kind else inner
    assert isinstance(outer, Observer)
    outer.observe(query(LENGTH), TRIED)
    assert watching.seen == [(query(LENGTH), TRIED)]


def test_parts_that_do_not_observe_are_not_told() -> None:
    for outer in (Mixture([(Portfolio(), 1.0)]), Judged(Portfolio(), Watching(), 1.0)):
        outer.observe(query(LENGTH), TRIED)
