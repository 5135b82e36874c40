"""The agent as a library: a Lean that is started once, and questions to it.

::

    from prover import Prover, prove

    print(prove("∀ a b : Nat, a + b = b + a").proof)

    async with Prover() as prover:                      # in your own event loop, for more than one question
        report = await prover.prove("theorem t (p q : Prop) (h : p ∧ q) : q")
        for it in await prover.suggest("p q : Prop\\nh : p ∧ q\\n⊢ q"):
            print(it.logprob, it.tactic, it.outcome)
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from prover.agent import equipped, prove_text, statement_source
from prover.choosing import needs_scope
from prover.environment import ANY_SCOPE, LeanError, Outcome, ProofFinished, TacticState
from prover.errors import InputError
from prover.generators.base import Query, TacticGenerator, admissible
from prover.generators.printed import as_statement
from prover.lean.messages import Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand
from prover.lean_environment import LeanDojo, open_file
from prover.reports import DEFAULTS, FileReport, OnEvent, Options, TheoremReport

if TYPE_CHECKING:
    from prover.decoder.checkpoint import LoadedModel
    from prover.recall.library import LibraryMemory


class SuggestedOutcome(StrEnum):
    """What a suggested tactic does at the goal."""

    PROVES = "proves"
    LEADS_ON = "leads_on"
    FAILS = "fails"
    #: It took Lean with it.
    CRASHES = "crashes"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A tactic for a goal."""

    tactic: str
    #: Natural, at most 0.
    logprob: float
    outcome: SuggestedOutcome
    #: What is left to prove behind it, as Lean prints it.
    goals: tuple[str, ...] = ()
    #: Why it fails.
    message: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A declaration that the memory looks up at a goal."""

    name: str
    #: Of all that was found, summed over heads.
    weight: float


class Prover:
    """A started Lean and a tactic generator; questions asked side by side share Lean's workers."""

    def __init__(self, options: Options = DEFAULTS, on_event: OnEvent = lambda event: None) -> None:
        """Make one; it starts with ``async with``.

        Args:
            options: ``theorems`` is not heeded.
            on_event: told of stages and of the search's progress.
        """
        self.options = replace(options, theorems=())
        self._on_event = on_event
        self._holding = AsyncExitStack()
        self._pool: LeanPool | None = None
        self._generator: TacticGenerator | None = None
        self._loaded: LoadedModel | None = None
        self._library: LibraryMemory | None = None
        self._looking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            InputError: an option names nothing.
            LeanUnavailable: Lean cannot be installed.
            ModelUnavailable: the decoder's model cannot be run.
        """
        opening = equipped(self.options, self._on_event)
        self._pool, self._generator = await self._holding.enter_async_context(opening)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._holding.aclose()

    @property
    def command(self) -> LeanCommand:
        """The Lean that was chosen, with what a person should know of it."""
        return self._ready()[0].command

    async def prove(
        self, statement: str, *, timeout: float | None = None, max_expansions: int | None = None
    ) -> TheoremReport:
        """Prove a proposition, or a whole ``theorem`` without its proof.

        Args:
            timeout: seconds; None: as the options say.

        Raises:
            InputError: it does not elaborate, or is not one theorem.
            LeanUnavailable: Lean cannot be started, or does not survive it.
        """
        report = await self.prove_source(
            statement_source(statement), timeout=timeout, max_expansions=max_expansions
        )
        if len(report.theorems) != 1:
            raise InputError("this is not one theorem: give a file with its sorrys to prove_source")
        return report.theorems[0]

    async def prove_source(
        self, text: str, *, timeout: float | None = None, max_expansions: int | None = None
    ) -> FileReport:
        """Prove the ``sorry``s of a Lean file that is given as text.

        Raises:
            InputError: it does not compile.
            LeanUnavailable: Lean cannot be started, or does not survive it.
        """
        pool, generator = self._ready()
        options = replace(
            self.options,
            timeout=self.options.timeout if timeout is None else timeout,
            max_expansions=self.options.max_expansions if max_expansions is None else max_expansions,
        )
        return await prove_text(text, pool, generator, options, self._on_event)

    async def suggest(self, goal: str, *, limit: int = 8, try_them: bool = True) -> list[Suggestion]:
        """Suggest tactics for a goal, the likely ones first, or those that work first where they are tried.

        Args:
            goal: as Lean prints it (hypotheses, ⊢ target), or a statement as :meth:`prove` takes it.
            limit: tactics at most.
            try_them: run each, and say what it does.

        Raises:
            InputError: it does not elaborate.
            LeanUnavailable: Lean cannot be started, or does not survive it.
            ModelUnavailable: the decoder's model cannot be run.
        """
        pool, generator = self._ready()
        statement = as_statement(goal) if "⊢" in goal else goal
        source = Source("Goal", "goal.lean", statement_source(statement))
        async with open_file(pool, source) as opened:
            if len(opened.sorries) != 1:
                raise InputError("this is not one goal: give one as Lean prints it, or one statement")
            dojo = LeanDojo(opened, 0, 1)
            told = needs_scope(self.options.generator, self.options.decoder)
            scope = await dojo.scope() if told else ANY_SCOPE
            query = Query(dojo.root, (), statement, self.options.seed, scope)
            (answer,) = await generator.generate([query])
            chosen = admissible(answer)[0][:limit]
            if not try_them:
                return [Suggestion(it.tactic, it.logprob, SuggestedOutcome.UNTRIED) for it in chosen]
            outcomes = [await dojo.run_tac(dojo.root, it.tactic) for it in chosen]
            await dojo.close()
        found = [_suggestion(it.tactic, it.logprob, o) for it, o in zip(chosen, outcomes, strict=True)]
        order = list(SuggestedOutcome)
        return sorted(found, key=lambda it: (order.index(it.outcome), -it.logprob))

    async def look_up(self, goal: str, *, limit: int = 8) -> list[Found]:
        """Say which declarations the decoder's memory of the library looks up at a goal, the heaviest first.

        Args:
            goal: as Lean prints it; a bare target will do.

        Raises:
            InputError: the decoder has no memory layer, or has not read the library yet.
            ModelUnavailable: the decoder's model cannot be run.
        """
        from prover.decoder.loading import load_model
        from prover.recall.looking import look

        async with self._looking:
            if self._loaded is None:
                self._loaded = await load_model(self.options.decoder)
            if self._library is None:
                self._library = self._holding.enter_context(await asyncio.to_thread(_library, self._loaded))
            looked = await asyncio.to_thread(look, self._loaded, self._library, goal)
            return [Found(name, weight) for name, weight in looked.names[:limit]]

    def _ready(self) -> tuple[LeanPool, TacticGenerator]:
        if self._pool is None or self._generator is None:
            raise InputError("the prover is not started: use it as `async with Prover() as prover`")
        return self._pool, self._generator


def prove(statement: str, **options: Any) -> TheoremReport:
    """Prove one statement with a Lean started for it, and return what became of it.

    Args:
        options: of :class:`prover.reports.Options`, for example ``timeout=10.0``.

    Raises:
        InputError: it does not elaborate, or an option names nothing.
        LeanUnavailable: Lean cannot be installed or started.
        ModelUnavailable: the decoder's model cannot be run.
    """

    async def alone() -> TheoremReport:
        async with Prover(replace(DEFAULTS, **options)) as prover:
            return await prover.prove(statement)

    return asyncio.run(alone())


def _suggestion(tactic: str, logprob: float, outcome: Outcome) -> Suggestion:
    match outcome.result:
        case ProofFinished():
            return Suggestion(tactic, logprob, SuggestedOutcome.PROVES)
        case TacticState(goals=goals):
            left = tuple(goal.pretty for goal in goals)
            return Suggestion(tactic, logprob, SuggestedOutcome.LEADS_ON, left)
        case LeanError(message=message):
            return Suggestion(tactic, logprob, SuggestedOutcome.FAILS, message=message)
        case crash:
            return Suggestion(tactic, logprob, SuggestedOutcome.CRASHES, message=crash.message)


def _library(loaded: LoadedModel) -> LibraryMemory:
    from prover.recall.library import LibraryMemory, folder_of, kind_of
    from prover.settings import settings

    kind = kind_of(loaded)[0]
    return LibraryMemory.open(folder_of(settings().cache, kind), kind, loaded.model.device)
