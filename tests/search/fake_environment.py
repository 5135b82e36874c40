"""An environment that follows a script: goals are letters, and each tactic says what they become."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from prover.environment import (
    CrashKind,
    LeanError,
    Outcome,
    ProofFinished,
    TacticCrash,
    TacticResult,
    TacticState,
)
from prover.generators.base import Candidate, Query
from prover.lean.messages import Goal

#: What a tactic makes of the main goal: new goals ("" closes it), or the result itself.
Move = str | TacticResult
#: Main goal to tactic to what it does; a tactic that is not there fails.
Script = Mapping[str, Mapping[str, Move]]

CRASH = TacticCrash(CrashKind.DIED, "exit code -9")


def goal(text: str) -> Goal:
    return Goal((), text, f"⊢ {text}", "", "", ())


def state(goals: str, *path: str) -> TacticState:
    """``state("p q")`` has the goals p and q."""
    return TacticState(tuple(goal(text) for text in goals.split()), path)


class FakeEnvironment:
    """Counts what it is asked, and knows which states are alive."""

    def __init__(self, script: Script, root: str = "p", workers: int = 1, delay: float = 0.0) -> None:
        self.script = script
        self.workers = workers
        self.root = state(root)
        self.delay = delay
        self.calls: list[tuple[str, str]] = []
        self.chunks: list[int] = []
        self.alive = {self.root.path}
        self.dropped: list[TacticState] = []
        self.running = 0
        self.most_running = 0

    async def run_tac(self, state: TacticState, tactic: str) -> Outcome:
        assert state.path in self.alive, f"the state after {state.path} was dropped"
        self.calls.append((state.pretty, tactic))
        result = self._result(state, tactic)
        if isinstance(result, TacticState):
            self.alive.add(result.path)
        return Outcome(result, lean_seconds=0.25, seconds=0.5)

    def _result(self, state: TacticState, tactic: str) -> TacticResult:
        main, *rest = [goal.target for goal in state.goals]
        move = self.script.get(main, {}).get(tactic, LeanError(f"{tactic} failed"))
        path = (*state.path, tactic)
        if not isinstance(move, str):
            return move
        goals = [*move.split(), *rest]
        return TacticState(tuple(goal(text) for text in goals), path) if goals else ProofFinished(path)

    async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
        self.chunks.append(len(tactics))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.delay)
            outcomes: list[Outcome] = []
            for tactic in tactics:
                outcomes.append(await self.run_tac(state, tactic))
                if isinstance(outcomes[-1].result, ProofFinished):
                    break
            return outcomes
        finally:
            self.running -= 1

    async def drop(self, states: Sequence[TacticState]) -> None:
        for state in states:
            assert state.path in self.alive, f"the state after {state.path} is dropped twice"
            self.alive.remove(state.path)
            self.dropped.append(state)


class ScriptedGenerator:
    """Proposes the same tactics everywhere, or those its table has for the main goal."""

    name = "scripted"

    def __init__(
        self, *common: tuple[str, float], table: Mapping[str, Sequence[tuple[str, float]]] | None = None
    ):
        self.common = common
        self.table = table or {}
        self.queries: list[Query] = []
        self.batches: list[int] = []

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        self.batches.append(len(queries))
        self.queries.extend(queries)
        return [self._answer(query.state.goals[0].target) for query in queries]

    def _answer(self, main: str) -> list[Candidate]:
        return [Candidate(tactic, logprob) for tactic, logprob in self.table.get(main, self.common)]
