"""What is written down about each attempt at a problem: one line of JSON, one frozen dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from prover.search.tree import LENGTH_EXPONENT

VERSION = 1


class Status(StrEnum):
    """What became of an attempt."""

    #: A proof was found, and a Lean process that takes no part in any search accepted it.
    PROVED = "proved"
    #: The budget ran out, or nothing was left to try.
    NOT_PROVED = "not_proved"
    #: The search believed in a proof that Lean refused.
    REJECTED = "rejected"
    #: The statement does not elaborate in this Lean.
    NOT_EXPRESSIBLE = "not_expressible"
    #: Lean or the machine failed, also when tried again: nothing is known about the problem.
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True, slots=True)
class Step:
    """A tactic of an accepted proof, with the goals it was run on, as Lean prints them."""

    goals: tuple[str, ...]
    tactic: str


@dataclass(frozen=True, slots=True)
class Record:
    """One attempt: a problem and a seed."""

    problem: str
    seed: int
    split: str
    tags: tuple[str, ...]
    position: int
    status: Status
    #: The lines of the accepted proof, without ``by``; None without one.
    proof: tuple[str, ...] | None
    #: The same proof as it was searched, tactic by tactic.
    steps: tuple[Step, ...]
    #: How the search ended: proved, exhausted, budget_expansions, budget_tactics, budget_seconds; else "".
    ended: str
    #: The kind of the last infrastructure failure: timeout, died, memory ...; "" without one.
    error_kind: str
    #: Why there is no proof, for people; "" when proved.
    message: str
    expansions: int
    tactics: int
    #: Tactics that failed in the normal way.
    errors: int
    #: Lean processes lost in the search.
    crashes: int
    #: Candidates refused before Lean saw them.
    refused: int
    duplicates: int
    #: Seconds inside Lean for the search's tactics, and in the tactic generator.
    lean_seconds: float
    model_seconds: float
    #: Seconds on the clock to open the theorem, to write down and check its proof, and altogether.
    open_seconds: float
    check_seconds: float
    wall_seconds: float
    #: Seconds on the clock from the start of the search to its end.
    search_seconds: float
    #: How often it was begun; more than 1 after infrastructure failures.
    tries: int
    statement_hash: str
    #: Of the tactic generator and what it had learned before the run.
    model_hash: str
    memory_hash: str
    lean: str
    commit: str
    machine: str
    version: int = VERSION

    @property
    def key(self) -> tuple[str, int]:
        """What a run holds once: problem and seed."""
        return self.problem, self.seed

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Record:
        """Read a record.

        Raises:
            ValueError: it is not one, or of another version.
        """
        if body.get("version") != VERSION:
            raise ValueError(f"not a record of version {VERSION}: {body.get('version')!r}")
        names = {field.name for field in fields(cls)}
        if set(body) != names:
            raise ValueError(f"a record with other fields: {', '.join(sorted(set(body) ^ names))}")
        return cls(
            **{
                **body,
                "status": Status(body["status"]),
                "tags": tuple(body["tags"]),
                "proof": None if body["proof"] is None else tuple(body["proof"]),
                "steps": tuple(Step(tuple(s["goals"]), s["tactic"]) for s in body["steps"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Attempted:
    """What is written down about an attempt, and the search's tree if there was a search."""

    record: Record
    tree: Mapping[str, Any] | None
    #: The first proof took so many tactics.
    proved_after: int = 0
    #: Other proofs that were accepted too; only where all were asked for.
    others: tuple[tuple[Step, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a run: with the same plan, a run goes on where it was."""

    benchmark: str
    benchmark_version: str
    split: str
    generator: str
    #: It learns from its own proofs while it runs.
    online: bool
    seeds: tuple[int, ...]
    #: The budget of one attempt.
    expansions: int
    tactics: int
    seconds: float
    problems: int
    #: Of all problems in order: another list is another run.
    problems_hash: str
    model_hash: str
    memory_hash: str
    lean: str
    #: The decoder's model and settings, for people; "" without one. Absent in the first plans.
    decoder: str = ""
    #: Of the search; absent in the first plans.
    length_exponent: float = LENGTH_EXPONENT
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Plan:
        """Read a plan.

        Raises:
            ValueError: it is not one, or of another version.
        """
        names = {field.name for field in fields(cls)}
        if body.get("version") != VERSION or set(body) | {"decoder", "length_exponent"} != names:
            raise ValueError(f"not the plan of a run of version {VERSION}")
        return cls(**{**body, "seeds": tuple(body["seeds"])})
