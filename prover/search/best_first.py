"""Best-first search for a proof: always turn to the most probable open state.

To expand a state is to ask the generator for tactics and to run them, the likely ones first; each new state
that comes out joins the frontier. A state's priority is the sum of the log-probabilities on the way to it,
divided by ``depth ** length_exponent``: 0 prefers short proofs, 1 is the mean log-probability of a tactic.

A state is expanded a chunk of tactics at a time (Yoshizumi, Miura & Ishida 2000, "A* with Partial Expansion
for Large Branching Factor Problems"): then it goes back to the frontier with the priority that a child by its
next tactic would have, so that unlikely tactics wait until likely states had their turn.

A generator of several stages (:class:`~prover.generators.base.Scheduled`) is asked stage by stage: each of n
may spend the next n-th of the budget. When its share is spent, or it has no more to say, the next one joins
and every state is open again for what it adds, while all that was tried stays in the tree. So a slow
generator takes no time from what the quick ones find soon, as with the strategy schedules of first-order
provers (Wolf & Letz 1998, "Strategy Parallelism in Automated Theorem Proving").
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
from prover.generators.base import (
    Candidate,
    Observer,
    Query,
    Step,
    TacticGenerator,
    Tried,
    admissible,
    batch_size,
    stage_of,
    stages_of,
)
from prover.search.tree import LENGTH_EXPONENT, Kind, Node, SearchTree

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


    def share(self, part: float) -> Budget:
        """Return this part of it; counts are rounded up."""
        return Budget(
            math.ceil(part * self.expansions), math.ceil(part * self.tactics), part * self.seconds
        )


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
    """How a search ended; a proof is a hint until a fresh Lean accepts the whole file."""

    status: SearchStatus
    #: The proofs in the order in which they were found; more than one only where all were asked for.
    proofs: tuple[tuple[str, ...], ...]
    #: Tactics that had been run when the first proof was found; all of them without one.
    proved_after: int
    counts: Counts
    seconds: float
    tree: SearchTree

    @property
    def proof(self) -> tuple[str, ...] | None:
        """The proof that was found first."""
        return self.proofs[0] if self.proofs else None


async def best_first_search(
    environment: Environment,
    generator: TacticGenerator,
    budget: Budget,
    *,
    statement: str = "",
    seed: int = 0,
    length_exponent: float = LENGTH_EXPONENT,
    scope: Scope = ANY_SCOPE,
    on_event: Callable[[Progress], None] | None = None,
    find_all: bool = False,
) -> SearchResult:
    """Search for a proof of the environment's theorem.

    With ``find_all`` a proof does not end the search: it goes on for others until its budget is spent.

    Up to ``environment.workers`` states are expanded side by side; with one worker, the same seed gives
    the same search. All states made on the way are dropped at the end, whatever ends it.

    Raises:
        LeanUnavailable: Lean cannot be started any more.
        ValueError: the generator did not answer each query.
    """
    search = _Search(
        environment, generator, budget, statement, seed, length_exponent, scope, on_event, find_all
    )
    try:
        async with asyncio.timeout(budget.seconds + GRACE_SECONDS) as limit:
            await search.run(limit)
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
        find_all: bool,
    ) -> None:
        self.environment = environment
        self.schedule = generator
        self.generator = generator  # the stage that is asked
        self.stage = -1
        self.observer = generator if isinstance(generator, Observer) else None
        self.budget = budget
        self.share = budget  # what may be spent up to the end of this stage
        self.statement = statement
        self.seed = seed
        self.scope = scope
        self.on_event = on_event
        self.find_all = find_all

        root = environment.root
        goals = _goals(root)
        self.answers: dict[int, list[Candidate]] = {}  # of states that were asked about ahead of their turn
        self.waiting: dict[int, list[Candidate]] = {}  # of states under expansion: what was not run yet
        self.visited = 0
        self.refused_an_expansion = False  # for want of budget
        self.tree = SearchTree(goals, statement=statement, length_exponent=length_exponent)
        self.states: dict[int, TacticState] = {0: root}
        self.frontier: list[tuple[float, int]] = [(0.0, 0)]  # a heap: the best score, then the oldest
        self.expansions: dict[asyncio.Task[None], Node] = {}
        self.status: SearchStatus | None = None
        self.proofs: list[tuple[str, ...]] = []
        self.proved_after = 0
        self.counts = Counts()
        self.reserved = 0  # tactics of the budget that are spent or in flight
        self.start = time.monotonic()

    async def run(self, limit: asyncio.Timeout) -> None:
        """Expand the best states until something ends the search.

        Args:
            limit: ends a search that hangs; it waits while a stage is made.
        """
        await self.next_stage(limit)
        while not self.over():
            if self.stage_is_over():
                await self.next_stage(limit)
            nodes = self.take_best()
            await self.begin([node for node in nodes if node.id not in self.waiting])
            for node in nodes:
                self.expansions[asyncio.create_task(self.expand(node))] = node
            if not self.expansions:
                if self.is_last_stage():
                    self.end(self.why_idle())
                    return
                await self.next_stage(limit)
                continue
            done, _ = await asyncio.wait(self.expansions, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self.expansions[task]
                task.result()
        if self.expansions:
            await asyncio.wait(self.expansions, timeout=GRACE_SECONDS)

    def is_last_stage(self) -> bool:
        return self.stage + 1 >= stages_of(self.schedule)

    def stage_is_over(self) -> bool:
        """Whether its share of time or tactics is spent; of expansions, it has what it began to its end."""
        spent = self.seconds() >= self.share.seconds or self.reserved >= self.share.tactics
        return spent and not self.is_last_stage()

    async def next_stage(self, limit: asyncio.Timeout) -> None:
        """Let the next generator join: every state that is alive is open again, for what it adds.

        The clock stands still while the generator is made, which is done once for many searches.
        """
        spent = self.seconds()
        limit.reschedule(None)
        self.stage += 1
        self.generator = await stage_of(self.schedule, self.stage)
        self.start = time.monotonic() - spent
        limit.reschedule(asyncio.get_running_loop().time() + self.budget.seconds - spent + GRACE_SECONDS)
        self.batch = batch_size(self.generator)
        self.share = self.budget.share((self.stage + 1) / stages_of(self.schedule))
        self.refused_an_expansion = False
        self.answers.clear()
        self.waiting.clear()
        busy = {node.id for node in self.expansions.values()}  # they come back by themselves
        self.frontier = [(-self.tree.nodes[id].score, id) for id in self.states if id not in busy]
        heapq.heapify(self.frontier)

    def over(self) -> bool:
        if self.seconds() >= self.budget.seconds:
            self.end(SearchStatus.BUDGET_SECONDS)
        return self.status is not None

    def end(self, status: SearchStatus) -> None:
        """The first reason counts, but nothing stands against a proof."""
        if self.status is None or status is SearchStatus.PROVED:
            self.status = status

    def why_idle(self) -> SearchStatus:
        return SearchStatus.BUDGET_EXPANSIONS if self.refused_an_expansion else SearchStatus.EXHAUSTED

    def take_best(self) -> list[Node]:
        """Take from the frontier as many states as there are idle workers, new ones within the budget."""
        idle = max(1, self.environment.workers) - len(self.expansions)
        nodes: list[Node] = []
        while self.frontier and len(nodes) < idle:
            node = self.tree.nodes[heapq.heappop(self.frontier)[1]]
            is_new = node.id not in self.waiting
            if is_new and self.counts.expansions >= self.share.expansions:
                self.refused_an_expansion = True
                continue
            if is_new:
                self.count(expansions=1)
            if node.visit is None:
                node.visit = self.visited
                self.visited += 1
            nodes.append(node)
        return nodes

    async def begin(self, nodes: Sequence[Node]) -> None:
        """Begin to expand states: get tactics not tried there yet, and put aside what may not be run."""
        for node, candidates in zip(nodes, await self.ask(nodes), strict=True):
            tried = node.tried  # in an earlier stage
            accepted, refused = admissible([it for it in candidates if it.tactic not in tried])
            self.waiting[node.id] = accepted
            for refusal in refused:
                self.refuse(node, refusal.candidate, refusal.reason)

    async def ask(self, nodes: Sequence[Node]) -> list[list[Candidate]]:
        """Ask the generator, in one batch, for tactics at these states, if their answers are not there yet.

        A model is as quick with a few queries as with one: the batch is filled with the states that are
        likely to be next. Their order stays what it is.
        """
        unknown = [node for node in nodes if node.id not in self.answers]
        if unknown:
            unknown += self.likely_next(self.batch - len(unknown))
            start = time.monotonic()
            answers = await self.generator.generate([self.query(node) for node in unknown])
            self.count(generator_seconds=time.monotonic() - start)
            if len(answers) != len(unknown):
                raise ValueError(f"{self.generator.name}: {len(answers)} answers to {len(unknown)} queries")
            self.answers |= zip((node.id for node in unknown), answers, strict=True)
        return [self.answers.pop(node.id) for node in nodes]

    def likely_next(self, count: int) -> list[Node]:
        """The best open states that the generator was not asked about."""
        left = self.share.expansions - self.counts.expansions
        known = self.answers.keys() | self.waiting.keys()
        unknown = (entry for entry in self.frontier if entry[1] not in known)
        return [self.tree.nodes[place] for _, place in heapq.nsmallest(min(count, left), unknown)]

    def query(self, node: Node) -> Query:
        history = tuple(Step(goals, tactic) for goals, tactic in self.tree.path(node))
        return Query(self.states[node.id], history, self.statement, self.seed, self.scope, node.tried)

    async def expand(self, node: Node) -> None:
        """Run the next few tactics; put the state back if there are more, else let it go."""
        stage, candidates = self.stage, self.waiting[node.id]
        chunk = self.reserve(candidates)
        if chunk:
            done = await self.run_chunk(node, chunk)
            self.reserved -= len(chunk) - done
            del candidates[:done]
        if stage != self.stage:
            heapq.heappush(self.frontier, (-node.score, node.id))
        elif candidates:
            priority = self.tree.score(node, candidates[0].logprob)
            heapq.heappush(self.frontier, (-priority, node.id))
        elif self.is_last_stage():
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
        if candidates and not chunk:
            self.end(SearchStatus.BUDGET_TACTICS)
        return chunk

    async def run_chunk(self, node: Node, chunk: Sequence[Candidate]) -> int:
        """Run tactics up to a proof, and return how many were run."""
        state = self.states[node.id]
        outcomes = await self.environment.run_tacs(state, [candidate.tactic for candidate in chunk])
        duplicates = []
        for candidate, outcome in zip(chunk, outcomes, strict=False):  # it stops early after a proof
            duplicate = self.record(node, candidate, outcome)
            if duplicate is not None:
                duplicates.append(duplicate)
        if self.observer is not None:
            self.observer.observe(self.query(node), _tried(chunk, outcomes))
        self.report(node)
        if duplicates:
            await self.environment.drop(duplicates)
        return len(outcomes)

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
        if not self.proofs:
            self.proved_after = self.counts.tactics
        self.proofs.append((*(step for _, step in self.tree.path(node)), tactic))
        if not self.find_all:
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
        status = SearchStatus.PROVED if self.proofs else self.status
        after = self.proved_after if self.proofs else self.counts.tactics
        return SearchResult(status, tuple(self.proofs), after, self.counts, self.seconds(), self.tree)


def _tried(chunk: Sequence[Candidate], outcomes: Sequence[Outcome]) -> list[Tried]:
    """How tactics went, as far as that says something of them: a crash says more of Lean."""
    results = [(it.tactic, done.result) for it, done in zip(chunk, outcomes, strict=False)]
    return [
        Tried(tactic, not isinstance(result, LeanError))
        for tactic, result in results
        if not isinstance(result, TacticCrash)
    ]


def _goals(state: TacticState) -> tuple[str, ...]:
    return tuple(goal.pretty for goal in state.goals)
