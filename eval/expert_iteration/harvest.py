"""From the records and search trees of attempts to what a decoder learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.benchmarks.base import Problem, Split
from eval.records import Attempted, Record, Status
from eval.store import Key, Tree
from prover.errors import InputError
from prover.generators.base import Step
from prover.training.examples import Attempt, Failure, Proof
from prover.training.store import StepStore

#: Failures kept of a state, and of an attempt; those on the way to a proof first, and the likely ones.
FAILURES_OF_A_STATE, FAILURES_OF_AN_ATTEMPT = 8, 24
_MESSAGE = 200


class Harvest:
    """What the runner writes to: each attempt goes into the store as soon as it has ended."""

    def __init__(
        self, store: StepStore, problems: Mapping[str, Problem], generator: str, budget: int
    ) -> None:
        """Take the problems that will be attempted, by name, and what attempts them.

        Args:
            budget: tactics of an attempt, at most.

        Raises:
            InputError: a problem is not of the train split.
        """
        if others := [p.id for p in problems.values() if p.split is not Split.TRAIN]:
            raise InputError(f"only training theorems are learned from, and {others[0]} is not one")
        self._store = store
        self._problems = problems
        self._generator = generator
        self._budget = budget
        self.records: dict[Key, Record] = {}

    def keep(self, attempted: Attempted) -> None:
        """Keep what an attempt gave; nothing is known after a failure of the infrastructure.

        Raises:
            InputError: the disk is full or gone.
        """
        record, tree = attempted.record, attempted.tree
        self.records[record.key] = record
        if record.status is Status.INFRASTRUCTURE:
            return
        problem = self._problems[record.problem]
        attempt = attempt_of(problem, attempted, self._generator, self._budget)
        failures = failures_of(problem, tree) if tree else ()
        self._store.add(attempt, proofs_of(problem, attempted, self._generator), failures)


def attempt_of(problem: Problem, attempted: Attempted, generator: str, budget: int) -> Attempt:
    """How an attempt went."""
    record, tree = attempted.record, attempted.tree
    proved = record.status is Status.PROVED
    return Attempt(
        theorem=problem.id,
        module=problem.module or problem.tag("module"),
        source=source_of(problem),
        generator=generator,
        model_hash=record.model_hash,
        seed=record.seed,
        proved=proved,
        budget=budget,
        tactics=attempted.proved_after if proved else record.tactics,
        expansions=record.expansions,
        seconds=record.wall_seconds,
        closest=0.0 if proved else closest(tree) if tree else 1.0,
    )


def source_of(problem: Problem) -> str:
    """Where a problem comes from, as :attr:`Proof.source` says it."""
    return "synthetic" if problem.module is None else "library"


def closest(tree: Tree) -> float:
    """The length of the shortest goals in a tree over that of the root's: how near the search came."""
    lengths = [sum(map(len, node["goals"])) for node in tree["nodes"]]
    return min(lengths) / lengths[0]


def proofs_of(problem: Problem, attempted: Attempted, generator: str) -> list[Proof]:
    """The accepted proofs that are known step by step."""
    found = (attempted.record.steps, *attempted.others)
    return [
        Proof(
            theorem=problem.id,
            module=problem.module or problem.tag("module"),
            statement=problem.statement,
            position=problem.position,
            steps=tuple(Step(step.goals, step.tactic) for step in steps),
            source=source_of(problem),
            split=problem.split.value,
            generator=generator,
            tactics=attempted.proved_after,
        )
        for steps in found
        if steps
    ]


def failures_of(problem: Problem, tree: Tree) -> list[Failure]:
    """Tactics that Lean refused."""
    found: list[Failure] = []
    for node in sorted(tree["nodes"], key=lambda node: (node["status"] != "proved", node["id"])):
        found += list(_failures_at(problem, node))[:FAILURES_OF_A_STATE]
    return found[:FAILURES_OF_AN_ATTEMPT]


def _failures_at(problem: Problem, node: Mapping[str, Any]) -> Iterator[Failure]:
    for edge in node["edges"]:
        if edge["kind"] in ("error", "crash"):
            message = edge["message"].partition("\n")[0][:_MESSAGE]
            # A lone surrogate, as a hostile tactic could print, is nothing to learn from.
            text = message.encode("utf-8", "replace").decode()
            yield Failure(problem.id, tuple(node["goals"]), edge["tactic"], text)
