"""What can be asked, by whatever way: the three questions, their limits, and their answers as JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from prover.agent import statement_source
from prover.api import Found, Suggestion
from prover.reports import FileReport, TheoremReport

#: Characters of a statement, a file or a goal.
MOST_TEXT = 200_000

_SORRY = re.compile(r"\bsorry\b")

Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
#: How many tactics, and how many declarations, are asked for.
TacticCount = Annotated[int, Field(ge=1, le=64)]
DeclarationCount = Annotated[int, Field(ge=1, le=256)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProveRequest(_Asked):
    """A statement, or a whole file with its ``sorry``s."""

    statement: Text = Field(
        description="A proposition, a theorem without its proof, or a Lean file with sorrys.",
        examples=["∀ a b : Nat, a + b = b + a"],
    )
    seconds: float | None = Field(
        default=None, gt=0, description="For one theorem; the server may allow less."
    )
    max_expansions: int | None = Field(default=None, ge=1, description="States expanded for one theorem.")


class SuggestRequest(_Asked):
    """A goal."""

    goal: Text = Field(
        description="A goal as Lean prints it, or a statement.",
        examples=["p q : Prop\nh : p ∧ q\n⊢ q"],
    )
    limit: TacticCount = Field(default=8, description="Tactics at most.")
    try_them: bool = Field(default=True, description="Run each tactic, and say what it does.")


class LookUpRequest(_Asked):
    """A goal."""

    goal: Text = Field(description="A goal as Lean prints it; a bare target will do.")
    limit: DeclarationCount = Field(default=8, description="Declarations at most.")


class Theorem(BaseModel):
    """What became of a theorem."""

    name: str
    #: ``proved``: a fresh Lean has accepted the proof.
    status: str
    goal: str
    #: Its lines, or nothing.
    proof: list[str] | None
    message: str
    expansions: int
    tactics: int
    seconds: float


class ProveAnswer(BaseModel):
    """What became of a statement or a file."""

    proved: bool
    theorems: list[Theorem]
    #: The text with the proofs that were accepted in place.
    text: str | None


class SuggestedTactic(BaseModel):
    tactic: str
    #: Natural, at most 0.
    logprob: float
    outcome: str
    goals: list[str]
    message: str


class SuggestAnswer(BaseModel):
    tactics: list[SuggestedTactic]


class Declared(BaseModel):
    name: str
    weight: float


class LookUpAnswer(BaseModel):
    declarations: list[Declared]


class Answering(Protocol):
    """Who answers: a :class:`prover.api.Prover`."""

    async def prove_source(
        self, text: str, *, timeout: float | None = None, max_expansions: int | None = None
    ) -> FileReport: ...

    async def suggest(self, goal: str, *, limit: int = 8, try_them: bool = True) -> list[Suggestion]: ...

    async def look_up(self, goal: str, *, limit: int = 8) -> list[Found]: ...


async def answer_prove(prover: Answering, asked: ProveRequest, most_seconds: float) -> ProveAnswer:
    """Prove; the seconds are those that were asked for, or as many as may be.

    Raises:
        InputError, LeanUnavailable, ModelUnavailable: as the prover does.
    """
    is_file = _SORRY.search(asked.statement)
    text = asked.statement if is_file else statement_source(asked.statement)
    seconds = min(asked.seconds or most_seconds, most_seconds)
    report = await prover.prove_source(text, timeout=seconds, max_expansions=asked.max_expansions)
    theorems = [_theorem(it) for it in report.theorems]
    proved = bool(theorems) and all(it.status == "proved" for it in theorems)
    return ProveAnswer(proved=proved, theorems=theorems, text=report.output)


async def answer_suggest(prover: Answering, asked: SuggestRequest) -> SuggestAnswer:
    """Suggest tactics.

    Raises:
        InputError, LeanUnavailable, ModelUnavailable: as the prover does.
    """
    found = await prover.suggest(asked.goal, limit=asked.limit, try_them=asked.try_them)
    return SuggestAnswer(tactics=[SuggestedTactic(**_fields(it)) for it in found])


async def answer_look_up(prover: Answering, asked: LookUpRequest) -> LookUpAnswer:
    """Look up the memory.

    Raises:
        InputError, ModelUnavailable: as the prover does.
    """
    found = await prover.look_up(asked.goal, limit=asked.limit)
    return LookUpAnswer(declarations=[Declared(name=it.name, weight=it.weight) for it in found])


def _theorem(report: TheoremReport) -> Theorem:
    return Theorem(
        name=report.name,
        status=report.status.value,
        goal=report.statement,
        proof=None if report.proof is None else list(report.proof),
        message=report.message,
        expansions=report.expansions,
        tactics=report.tactics,
        seconds=round(report.seconds, 3),
    )


def _fields(it: Suggestion) -> dict[str, Any]:
    return {
        "tactic": it.tactic,
        "logprob": it.logprob,
        "outcome": it.outcome.value,
        "goals": list(it.goals),
        "message": it.message,
    }
