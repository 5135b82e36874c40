"""The story of one attempt: open the theorem, search, write the proof down, have it checked, record it all.

Start reading at :meth:`Bench.attempt`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Self

from eval.benchmarks.base import Problem
from eval.checking import Checker
from eval.lessons import Lesson, lesson_of
from eval.provenance import git_commit, machine
from eval.records import Attempted, Record, Status, Step
from prover.choosing import check_generator, generator_by_name, needs_scope
from prover.decoder.options import SHIPPED, DecoderOptions
from prover.environment import ANY_SCOPE, Scope
from prover.errors import InputError, LeanUnavailable
from prover.generators.base import Learner, TacticGenerator, content_hash, memory_hash
from prover.generators.perturbed import Perturbed
from prover.lean.pool import LeanPool
from prover.lean.process import ProcessFailure
from prover.lean.toolchain import LeanCommand
from prover.lean_environment import LeanDojo, LeanFile, open_request
from prover.premises import Report, lean_version
from prover.proof_script import Script, write_down
from prover.search.best_first import Budget, Counts, SearchResult, SearchStatus, best_first_search
from prover.search.tree import LENGTH_EXPONENT

#: An attempt that ended by an infrastructure failure is made so often before the failure is its outcome.
TRIES = 3


@dataclass(slots=True)
class _Clock:
    """Seconds since it was made, and where they went."""

    start: float = field(default_factory=time.monotonic)
    open_seconds: float = 0.0
    check_seconds: float = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self.start

    @asynccontextmanager
    async def checking(self) -> AsyncIterator[None]:
        """Count the seconds within as those of the check."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.check_seconds += time.monotonic() - start


class Bench:
    """What attempts on one machine need: Lean processes, a tactic generator, a checker.

    To be used with ``async with``.
    """

    def __init__(
        self,
        command: LeanCommand,
        generator: str | TacticGenerator,
        budget: Budget,
        workers: int,
        spares: int = 1,
        lessons: Sequence[Lesson] = (),
        report: Report = lambda text, done, total: None,
        decoder: DecoderOptions = SHIPPED,
        proofs: int = 1,
        length_exponent: float = LENGTH_EXPONENT,
    ) -> None:
        """Make a bench; nothing starts before ``async with``.

        Args:
            generator: a tactic generator, or the name of one.
            workers: how many attempts may be under way at once.
            spares: Lean processes kept warm beside those of the workers and the one that checks.
            lessons: what the generator is taught before the first attempt.
            report: told what takes long before the first attempt.
            decoder: which model proposes tactics, where the generator has a decoder in it.
            proofs: of a theorem, at most; with more than one, a search goes on after its first.
            length_exponent: of the search.
        """
        self._pool = LeanPool(command, workers + 1, spares)  # one of them checks
        self._checker = Checker(self._pool)
        self._chosen = generator
        self._budget = budget
        self._lessons = lessons
        self._report = report
        self._decoder = decoder
        self._proofs = proofs
        self._length_exponent = length_exponent
        self.workers = workers
        self.lean = command.description

    async def __aenter__(self) -> Self:
        """Start Lean, and read the library if the generator needs it.

        Raises:
            InputError: there is no such generator, or it is to be taught and does not learn.
            LeanUnavailable: Lean cannot be started.
        """
        self._is_told = False
        if isinstance(self._chosen, str):
            check_generator(self._chosen)
            self._is_told = needs_scope(self._chosen, self._decoder)
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self._pool)
            self._learner = await opening.enter_async_context(self._generator_to_be())
            self._generator = Perturbed(self._learner)  # so that each seed is another search
            self._teach(self._lessons)
            # What it has put off is done now, and not on the first theorem's clock.
            await self._learner.generate([])
            self.model_hash = content_hash(self._learner)
            self.memory_hash = memory_hash(self._learner)
            self.lean = await lean_version(self._pool)
            self._closing = opening.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._checker.close()
        await self._closing.aclose()

    def _generator_to_be(self) -> AbstractAsyncContextManager[TacticGenerator]:
        if isinstance(self._chosen, str):
            return generator_by_name(self._chosen, self._pool, self._report, self._decoder)
        return nullcontext(self._chosen)

    def learn(self, record: Record) -> None:
        """Let the generator learn from an accepted proof."""
        self._teach([lesson_of(record)])

    def _teach(self, lessons: Sequence[Lesson]) -> None:
        for lesson in lessons:
            if not lesson.steps:
                continue
            if not isinstance(self._learner, Learner):
                raise InputError(f"the generator {self._learner.name!r} does not learn from proofs")
            self._learner.learn(lesson.steps, lesson.position)

    async def attempt(self, problem: Problem, seed: int) -> Attempted:
        """Look for a proof; a failure of the infrastructure is retried, and then what is recorded.

        Raises:
            LeanUnavailable: Lean cannot be started at all any more.
        """
        blank = blank_record(problem, seed, self.lean, self.model_hash, self.memory_hash)
        for tries in range(1, TRIES + 1):
            clock = _Clock()
            blank = replace(blank, tries=tries)
            try:
                done = await self._try(problem, blank, clock)
            except InputError as error:
                done = Attempted(replace(blank, status=Status.NOT_EXPRESSIBLE, message=str(error)), None)
            except LeanUnavailable as failure:
                if self._pool.failure is not None:
                    raise
                blank = replace(blank, error_kind=_kind(failure), message=str(failure))
                done = Attempted(blank, None)
            record = _timed(done.record, clock)
            if record.status is not Status.INFRASTRUCTURE:
                break
        return replace(done, record=record)

    async def _try(self, problem: Problem, blank: Record, clock: _Clock) -> Attempted:
        async with open_request(self._pool, problem.request()) as file:
            dojo, scope = await self._enter(file, problem)
            clock.open_seconds = clock.seconds()
            result = await best_first_search(
                dojo,
                self._generator,
                self._budget,
                statement=problem.statement,
                seed=blank.seed,
                length_exponent=self._length_exponent,
                scope=scope,
                find_all=self._proofs > 1,
            )
            record = _searched(blank, result, file.crashes)
            others: list[tuple[Step, ...]] = []
            name = file.sorries[0].declaration
            async with clock.checking():
                for proof in result.proofs[: self._proofs]:
                    judged = await self._judged(record, problem, await write_down(dojo, proof, name))
                    if record.status is Status.PROVED:
                        others += [judged.steps] if judged.status is Status.PROVED else []
                    else:
                        record = judged
        return Attempted(record, result.tree.to_json(), result.proved_after, tuple(others))

    async def _enter(self, file: LeanFile, problem: Problem) -> tuple[LeanDojo, Scope]:
        """Return the environment of the file's only goal, and what its proof may use."""
        goals = len(file.sorries)
        if goals != 1 or not file.sorries[0].is_prop:
            raise InputError(f"{problem.id}: its statement leaves {goals} goals instead of one proposition")
        dojo = LeanDojo(file, 0)
        return dojo, await dojo.scope(problem.position) if self._is_told else ANY_SCOPE

    async def _judged(self, record: Record, problem: Problem, script: Script) -> Record:
        """Have the proof checked as a person would write it, and else as the search ran it."""
        reason = ""
        for lines in dict.fromkeys((script.lines, script.flat)):
            reason = await self._checker.check(problem, lines)
            if not reason:
                steps = tuple(Step(step.before, step.tactic) for step in script.steps)
                return replace(record, status=Status.PROVED, proof=lines, steps=steps, message="")
        return replace(record, status=Status.REJECTED, message=reason)


def blank_record(problem: Problem, seed: int, lean: str, model_hash: str, memory_hash: str) -> Record:
    """The record of an attempt that came to nothing."""
    return Record(
        problem=problem.id,
        seed=seed,
        split=problem.split,
        tags=problem.tags,
        position=problem.position,
        status=Status.INFRASTRUCTURE,
        proof=None,
        steps=(),
        ended="",
        error_kind="",
        message="",
        expansions=0,
        tactics=0,
        errors=0,
        crashes=0,
        refused=0,
        duplicates=0,
        lean_seconds=0.0,
        model_seconds=0.0,
        open_seconds=0.0,
        check_seconds=0.0,
        wall_seconds=0.0,
        search_seconds=0.0,
        tries=0,
        statement_hash=problem.statement_hash,
        model_hash=model_hash,
        memory_hash=memory_hash,
        lean=lean,
        commit=git_commit(),
        machine=machine(),
    )


def _timed(record: Record, clock: _Clock) -> Record:
    return replace(
        record,
        open_seconds=clock.open_seconds,
        check_seconds=clock.check_seconds,
        wall_seconds=clock.seconds(),
    )


def _searched(blank: Record, result: SearchResult, crashes: int) -> Record:
    """The record after a search; nothing is proved before the check."""
    counts: Counts = result.counts
    proved = result.status is SearchStatus.PROVED
    return replace(
        blank,
        status=Status.NOT_PROVED,
        ended=result.status.value,
        error_kind="",
        message="" if proved else f"no proof found ({result.status})",
        expansions=counts.expansions,
        tactics=counts.tactics,
        errors=counts.errors,
        crashes=crashes,
        refused=counts.refused,
        duplicates=counts.duplicates,
        lean_seconds=counts.lean_seconds,
        model_seconds=counts.generator_seconds,
        search_seconds=result.seconds,
    )


def _kind(failure: LeanUnavailable) -> str:
    """A short name of what went wrong, for the report's table."""
    cause = failure.__cause__
    if isinstance(cause, ProcessFailure):
        return cause.post_mortem.cause.value
    return "unavailable"
