"""Best-first search for a proof: always expand the most probable open state.

To expand a state is to ask the generator for tactics and to run them all; each new state that comes out
joins the frontier. A state's priority is the sum of the log-probabilities on the way to it, divided
by ``depth ** length_exponent``: 0 prefers short proofs, 1 is the mean log-probability of a tactic.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from prover.environment import (
    ANY_SCOPE,
    Environment,
    LeanError,
    Outcome,
    ProofFinished,
    Scope,
    TacticCrash,
    TacticState,
)
from prover.generators.base import Candidate, Query, Step, TacticGenerator, admissible
from prover.search.tree import Kind, Node, SearchTree

#: Tactics sent to Lean at a time: between two chunks the search looks at its budget.
CHUNK = 8
#: What is under way when the search is over may take this long to end by itself.
GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a search may spend: states expanded, tactics run, seconds on the clock."""

    expansions: int = 100
    tactics: int = 100_000
    seconds: float = 60.0


class SearchStatus(StrEnum):
    """How a search ended."""

    PROVED = "proved"
    #: Every state that can be reached was expanded.
    EXHAUSTED = "exhausted"
    BUDGET_EXPANSIONS = "budget_expansions"
    BUDGET_TACTICS = "budget_tactics"
    BUDGET_SECONDS = "budget_seconds"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a search spent; a crash is Lean's death, an error a tactic's normal failure."""

    expansions: int = 0
    tactics: int = 0
    errors: int = 0
    crashes: int = 0
    #: Tactics that led to a state already known.
    duplicates: int = 0
    #: Candidates that were never run.
    refused: int = 0
    lean_seconds: float = 0.0
    generator_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A look at a search under way, after each chunk of tactics; the tree is the live one."""

    statement: str
    counts: Counts
    seconds: float
    #: The main goal of the state under expansion, which is the most promising one.
    best_goal: str
    tree: SearchTree


@dataclass(frozen=True, slots=True)
class SearchResult:
    """How a search ended; ``proof`` is a hint until a fresh Lean accepts the whole file."""

    status: SearchStatus
    proof: tuple[str, ...] | None
    counts: Counts
    seconds: float
    tree: SearchTree


async def best_first_search(
    environment: Environment,
    generator: TacticGenerator,
    budget: Budget,
    *,
    statement: str = "",
    seed: int = 0,
    length_exponent: float = 0.5,
    scope: Scope = ANY_SCOPE,
    on_event: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search for a proof of the environment's theorem.

    Up to ``environment.workers`` states are expanded side by side; with one worker, the same seed gives
    the same search. All states made on the way are dropped at the end, whatever ends it.

    Raises:
        LeanUnavailable: Lean cannot be started any more.
        ValueError: the generator did not answer each query.
    """
    search = _Search(environment, generator, budget, statement, seed, length_exponent, scope, on_event)
    try:
        async with asyncio.timeout(budget.seconds + GRACE_SECONDS) as limit:
            await search.run()
    except TimeoutError:
        if not limit.expired():
            raise
        search.end(SearchStatus.BUDGET_SECONDS)
    finally:
        await search.wind_up()
    return search.result()


class _Search:
    """One search: its frontier, its tree, and the states that are alive in Lean."""

    def __init__(
        self,
        environment: Environment,
        generator: TacticGenerator,
        budget: Budget,
        statement: str,
        seed: int,
        length_exponent: float,
        scope: Scope,
        on_event: Callable[[Progress], None] | None,
    ) -> None:
        self.environment = environment
        self.generator = generator
        self.budget = budget
        self.statement = statement
        self.seed = seed
        self.scope = scope
        self.on_event = on_event

        root = environment.root
        goals = _goals(root)
        self.tree = SearchTree(goals, statement=statement, length_exponent=length_exponent)
        self.states: dict[int, TacticState] = {0: root}
        self.frontier: list[tuple[float, int]] = [(0.0, 0)]  # a heap: the best score, then the oldest
        self.expansions: set[asyncio.Task[None]] = set()
        self.status: SearchStatus | None = None
        self.proof: tuple[str, ...] | None = None
        self.counts = Counts()
        self.reserved = 0  # tactics of the budget that are spent or in flight
        self.start = time.monotonic()

    async def run(self) -> None:
        """Expand the best states until something ends the search."""
        while not self.over():
            nodes = self.take_best()
            for node, candidates in zip(nodes, await self.ask(nodes), strict=True):
                self.expansions.add(asyncio.create_task(self.expand(node, candidates)))
            if not self.expansions:
                self.end(self.why_idle())
                return
            done, _ = await asyncio.wait(self.expansions, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                self.expansions.discard(task)
        if self.expansions:
            await asyncio.wait(self.expansions, timeout=GRACE_SECONDS)

    def over(self) -> bool:
        if self.seconds() >= self.budget.seconds:
            self.end(SearchStatus.BUDGET_SECONDS)
        return self.status is not None

    def end(self, status: SearchStatus) -> None:
        """The first reason counts, but nothing stands against a proof."""
        if self.status is None or status is SearchStatus.PROVED:
            self.status = status

    def why_idle(self) -> SearchStatus:
        return SearchStatus.BUDGET_EXPANSIONS if self.frontier else SearchStatus.EXHAUSTED

    def take_best(self) -> list[Node]:
        """Take from the frontier as many states as there are idle workers and expansions left."""
        idle = max(1, self.environment.workers) - len(self.expansions)
        left = self.budget.expansions - self.counts.expansions
        nodes: list[Node] = []
        while self.frontier and len(nodes) < min(idle, left):
            node = self.tree.nodes[heapq.heappop(self.frontier)[1]]
            node.visit = self.counts.expansions
            self.count(expansions=1)
            nodes.append(node)
        return nodes

    async def ask(self, nodes: Sequence[Node]) -> list[list[Candidate]]:
        """Ask the generator, in one batch, for tactics at these states."""
        if not nodes:
            return []
        start = time.monotonic()
        answers = await self.generator.generate([self.query(node) for node in nodes])
        self.count(generator_seconds=time.monotonic() - start)
        if len(answers) != len(nodes):
            raise ValueError(f"{self.generator.name}: {len(answers)} answers to {len(nodes)} queries")
        return answers

    def query(self, node: Node) -> Query:
        history = tuple(Step(goals, tactic) for goals, tactic in self.tree.path(node))
        return Query(self.states[node.id], history, self.statement, self.seed, self.scope)

    async def expand(self, node: Node, candidates: Sequence[Candidate]) -> None:
        """Run the tactics that may be run, a chunk at a time, until the search is over."""
        accepted, refused = admissible(candidates)
        everything = len(accepted) + len(refused)
        for refusal in refused:
            self.refuse(node, refusal.candidate, refusal.reason)
        while accepted and not self.over():
            chunk = self.reserve(accepted)
            if not chunk:
                return
            accepted = accepted[len(chunk) :]
            await self.run_chunk(node, chunk)
        if len(node.edges) == everything:
            node.expanded = True
            await self.drop_states([node.id])

    def refuse(self, node: Node, candidate: Candidate, reason: str) -> None:
        self.count(refused=1)
        logprob = candidate.logprob if math.isfinite(candidate.logprob) else 0.0
        self.tree.note(node, candidate.tactic, logprob, Kind.REFUSED, reason, 0.0)

    def reserve(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Take the next chunk out of the budget of tactics."""
        chunk = candidates[: min(CHUNK, self.budget.tactics - self.reserved)]
        self.reserved += len(chunk)
        if not chunk:
            self.end(SearchStatus.BUDGET_TACTICS)
        return chunk

    async def run_chunk(self, node: Node, chunk: Sequence[Candidate]) -> None:
        state = self.states[node.id]
        outcomes = await self.environment.run_tacs(state, [candidate.tactic for candidate in chunk])
        duplicates = []
        for candidate, outcome in zip(chunk, outcomes, strict=False):  # it stops early after a proof
            duplicate = self.record(node, candidate, outcome)
            if duplicate is not None:
                duplicates.append(duplicate)
        self.report(node)
        if duplicates:
            await self.environment.drop(duplicates)

    def record(self, node: Node, candidate: Candidate, outcome: Outcome) -> TacticState | None:
        """Enter one outcome into the tree; return its state when it is a duplicate."""
        self.count(tactics=1, lean_seconds=outcome.lean_seconds)
        tactic, logprob, seconds = candidate.tactic, candidate.logprob, outcome.lean_seconds
        match outcome.result:
            case TacticState() as state:
                return self.reach(node, candidate, state, seconds)
            case ProofFinished():
                self.tree.note(node, tactic, logprob, Kind.FINISHED, "", seconds)
                self.finish(node, tactic)
            case LeanError(message):
                self.count(errors=1)
                self.tree.note(node, tactic, logprob, Kind.ERROR, message, seconds)
            case TacticCrash(kind, message):
                self.count(crashes=1)
                self.tree.note(node, tactic, logprob, Kind.CRASH, f"{kind}: {message}", seconds)
        return None

    def reach(
        self, node: Node, candidate: Candidate, state: TacticState, seconds: float
    ) -> TacticState | None:
        child, new = self.tree.reach(node, candidate.tactic, candidate.logprob, _goals(state), seconds)
        if not new:
            self.count(duplicates=1)
            return state
        self.states[child.id] = state
        heapq.heappush(self.frontier, (-child.score, child.id))
        return None

    def finish(self, node: Node, tactic: str) -> None:
        if self.proof is None:
            self.proof = (*(step for _, step in self.tree.path(node)), tactic)
        self.end(SearchStatus.PROVED)

    def report(self, node: Node) -> None:
        if self.on_event is not None:
            progress = Progress(self.statement, self.counts, self.seconds(), node.goals[0], self.tree)
            self.on_event(progress)

    def count(self, **spent: float) -> None:
        sums = {name: getattr(self.counts, name) + amount for name, amount in spent.items()}
        self.counts = replace(self.counts, **sums)

    def seconds(self) -> float:
        return time.monotonic() - self.start

    async def drop_states(self, ids: Sequence[int]) -> None:
        """Let Lean forget states; the root stays, for whoever replays the proof."""
        states = [self.states.pop(node_id) for node_id in ids if node_id != 0]
        if states:
            await self.environment.drop(states)

    async def wind_up(self) -> None:
        """Stop what still runs and drop every state."""
        for task in self.expansions:
            task.cancel()
        await asyncio.gather(*self.expansions, return_exceptions=True)
        await self.drop_states(list(self.states))

    def result(self) -> SearchResult:
        assert self.status is not None, "a search ends for a reason"
        return SearchResult(self.status, self.proof, self.counts, self.seconds(), self.tree)


def _goals(state: TacticState) -> tuple[str, ...]:
    return tuple(goal.pretty for goal in state.goals)
