"""The LeanDojo-like environment: open a theorem, run tactics on its states, in any order.

Names follow LeanDojo (Yang et al., 2023, arXiv 2306.15626): a :class:`TacticState` goes in, and a
:class:`TacticState`, :class:`ProofFinished` or :class:`LeanError` comes out. Trouble with the machinery
(a process that died or hung) is never a ``LeanError``: it is a :class:`TacticCrash`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prover.lean.messages import Declaration, Goal


@dataclass(frozen=True, slots=True)
class TacticState:
    """A proof under way: its goals, and the tactics that led here from the root (enough to replay it)."""

    goals: tuple[Goal, ...]
    path: tuple[str, ...]

    @property
    def pretty(self) -> str:
        """The goals as Lean prints them; equal texts are taken for equal states."""
        return "\n\n".join(goal.pretty for goal in self.goals)


@dataclass(frozen=True, slots=True)
class ProofFinished:
    """No goal left, and the proof term passed the kernel; still a hint until the whole file is verified."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeanError:
    """The tactic failed: the normal fate of most tactics."""

    message: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a proof may use."""

    #: The library modules that are imported, directly or not; None: all that the generator knows.
    modules: frozenset[str] | None = None
    #: Declarations of the source itself, in no order, without the theorem.
    own: tuple[Declaration, ...] = ()
    #: The theorem's place in an order of learning: what was learned from a theorem at the same or a later
    #: place is not used. None: everything that was learned may be used.
    position: int | None = None


#: Declarations of the source itself that a scope lists, at most.
MOST_OWN = 1000
#: Nothing is known of what may be used.
ANY_SCOPE = Scope()


class CrashKind(StrEnum):
    TIMEOUT = "timeout"
    DIED = "died"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class TacticCrash:
    """The tactic took the Lean process with it, on a fresh process too; the search goes on without it."""

    kind: CrashKind
    message: str


TacticResult = TacticState | ProofFinished | LeanError | TacticCrash


@dataclass(frozen=True, slots=True)
class Outcome:
    """A tactic's result and what it cost: seconds inside Lean, and seconds as seen from here."""

    result: TacticResult
    lean_seconds: float
    seconds: float


class Environment(Protocol):
    """What the search needs to know of a theorem under proof.

    Several calls may be in flight at once, up to ``workers`` of them really side by side.
    """

    @property
    def workers(self) -> int: ...

    @property
    def root(self) -> TacticState: ...

    async def run_tac(self, state: TacticState, tactic: str) -> Outcome:
        """Run one tactic.

        Raises:
            LeanUnavailable: Lean cannot be started any more.
        """
        ...

    async def run_tacs(self, state: TacticState, tactics: Sequence[str]) -> list[Outcome]:
        """Run each tactic on the same state, on one worker, and return the outcomes in order.

        Stops early after a :class:`ProofFinished`: the list then ends with it.
        """
        ...

    async def drop(self, states: Sequence[TacticState]) -> None:
        """Free states that will not be used again (they come back by replay if they are)."""
        ...
