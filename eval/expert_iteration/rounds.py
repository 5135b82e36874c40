"""The main loop of an expert iteration: round after round of choosing, attempting and keeping."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from eval.attempt import Bench
from eval.benchmarks.base import Problem
from eval.expert_iteration.curriculum import choose
from eval.expert_iteration.harvest import Harvest
from eval.expert_iteration.mutations import Plan
from eval.expert_iteration.planned import Planned
from eval.lessons import Lesson
from eval.runner import OnEvent, run
from prover.choosing import has_decoder, learns
from prover.decoder.options import SHIPPED, DecoderOptions
from prover.lean.toolchain import LeanCommand
from prover.premises import Report
from prover.search.best_first import Budget
from prover.training.examples import Proof
from prover.training.store import StepStore


@dataclass(frozen=True, slots=True)
class Round:
    """How rounds are made."""

    #: Theorems a round.
    size: int
    generator: str
    budget: Budget
    workers: int
    seed: int = 0
    decoder: DecoderOptions = SHIPPED
    #: Kept of a theorem, at most; with more than one, searches go on after their first.
    proofs: int = 8

    @property
    def label(self) -> str:
        """What stands in the store for what attempted a theorem."""
        decoder = f" ({self.decoder.description})" if has_decoder(self.generator) else ""
        return f"{self.generator}{decoder}"


async def collect(
    problems: Sequence[Problem],
    store: StepStore,
    command: LeanCommand,
    how: Round,
    rounds: int,
    seconds: float,
    on_event: OnEvent,
    report: Report,
) -> None:
    """Make rounds until there are enough, the time is over, or nothing is left to attempt.

    Each round's generator is taught all proofs that the store holds, if it can learn, and those of the round
    as they are found. What was attempted is in the store: broken off, the next call goes on.

    Args:
        rounds: at most.
        seconds: no round begins after so many on the clock.

    Raises:
        LeanUnavailable: Lean cannot be started.
        InputError: the store cannot be written.
    """
    start = time.monotonic()
    for _ in range(rounds):
        chosen = choose(problems, store.standings(), how.size, how.label, how.budget.tactics)
        if not chosen or time.monotonic() - start >= seconds:
            return
        await _round(chosen, store, command, how, on_event, report)


async def _round(
    chosen: Sequence[Problem],
    store: StepStore,
    command: LeanCommand,
    how: Round,
    on_event: OnEvent,
    report: Report,
) -> None:
    online = learns(how.generator, how.decoder)
    lessons = [lesson_of(proof) for proof in store.proofs()] if online else []
    harvest = Harvest(store, {p.id: p for p in chosen}, how.label, how.budget.tactics)
    bench = Bench(
        command,
        how.generator,
        how.budget,
        how.workers,
        lessons=lessons,
        report=report,
        decoder=how.decoder,
        proofs=how.proofs,
    )
    async with bench:
        await run(chosen, (how.seed,), bench, harvest, on_event, online=online)


async def synthesize(
    problems: Sequence[tuple[Problem, Plan]],
    store: StepStore,
    command: LeanCommand,
    how: Round,
    on_event: OnEvent,
) -> None:
    """Prove synthetic theorems by their plans, and keep what Lean accepts; resumed as :func:`collect` is.

    Raises:
        LeanUnavailable: Lean cannot be started.
        InputError: the store cannot be written.
    """
    harvest = Harvest(store, {problem.id: problem for problem, _ in problems}, how.label, how.budget.tactics)
    generator = Planned({problem.statement: plan for problem, plan in problems})
    bench = Bench(command, generator, how.budget, how.workers, proofs=how.proofs)
    async with bench:
        await run([problem for problem, _ in problems], (how.seed,), bench, harvest, on_event)


def lesson_of(proof: Proof) -> Lesson:
    """What a stored proof teaches a generator that remembers."""
    return Lesson(proof.steps, proof.position)
