"""A tactic generator that follows plans: what may be tried at each step of each theorem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.expert_iteration.mutations import Plan
from prover.generators.base import Candidate, Query

#: What a tactic's place in its step costs.
_FIRST, _NEXT = -1.0, -0.1


class Planned:
    """Knows the plans of theorems by their statements."""

    name = "planned"

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self._plans = plans

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> list[Candidate]:
        plan = self._plans[query.statement]
        tactics = dict.fromkeys(plan[min(len(query.history), len(plan) - 1)])
        return [Candidate(tactic, _FIRST + _NEXT * place) for place, tactic in enumerate(tactics)]
