"""What the agent is asked for, what it tells while it works, and what it hands back.

The agent fills these, the command line shows them; neither knows more of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from prover.decoder.options import SHIPPED, DecoderOptions
from prover.errors import ProverError
from prover.lean.messages import Message, Verdict
from prover.search.tree import LENGTH_EXPONENT


@dataclass(frozen=True, slots=True)
class Options:
    """How to look for proofs."""

    #: Seconds for one theorem.
    timeout: float = 60.0
    #: Nodes expanded for one theorem.
    max_expansions: int = 1000
    #: Tactics run for one theorem.
    max_tactics: int = 100_000
    #: Lean processes that work side by side.
    workers: int = 1
    seed: int = 0
    #: Name of a tactic generator.
    generator: str = "portfolio,memory,decoder"
    #: "embedded", the path of a Lean, or None: choose by the file's folder.
    lean: str | None = None
    #: Only the theorems of these names; () is all. The others are not reported at all.
    theorems: tuple[str, ...] = ()
    #: Which model proposes tactics, where the generator has a decoder in it.
    decoder: DecoderOptions = SHIPPED
    #: Where the decoder keeps what it has tried, across runs; None: nowhere.
    remember: Path | None = None
    #: Whether a toolchain's Lean runs in a sandbox, where there is one.
    sandbox: bool = True
    #: See :mod:`prover.search.best_first`.
    length_exponent: float = LENGTH_EXPONENT


#: What is not chosen.
DEFAULTS = Options()


class TheoremStatus(StrEnum):
    """What became of one ``sorry``."""

    #: A proof was found, and a fresh Lean accepted the whole file with it.
    PROVED = "proved"
    #: The budget ran out, or nothing was left to try.
    NOT_PROVED = "not_proved"
    #: Not tried: data rather than a proposition, or interrupted before its turn.
    SKIPPED = "skipped"
    #: Lean failed, not the proof: nothing is known about the theorem.
    CRASHED = "crashed"
    #: The search found a proof that the fresh Lean refused.
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class TheoremReport:
    """The outcome for one ``sorry``."""

    file: str
    #: "" for an ``example``.
    name: str
    #: Of the ``sorry``: line from 1, column from 0, in characters.
    line: int
    column: int
    status: TheoremStatus
    #: The goal as Lean prints it.
    statement: str
    #: The verified proof's lines; None without one.
    proof: tuple[str, ...] | None
    expansions: int
    tactics: int
    #: Lean processes lost on the way.
    crashes: int
    seconds: float
    #: Seconds of those that were spent inside Lean, summed over the workers.
    lean_seconds: float
    #: Why there is no proof, or what Lean said against it; "" when proved.
    message: str
    #: The exported search tree; None when nothing was searched.
    tree: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class FileReport:
    """The outcome for one file, its ``sorry``s in source order."""

    path: str
    theorems: tuple[TheoremReport, ...]
    #: The file's text with the verified proofs in place; None when there are none.
    output: str | None
    #: Why nothing could be done with the file.
    fault: ProverError | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a fresh Lean says about a finished file, held against the original."""

    path: str
    #: One a theorem of the original, in its order.
    verdicts: tuple[Verdict, ...]
    #: What Lean said about the finished file.
    messages: tuple[Message, ...]
    #: Every verdict is good, and the file as a whole is.
    accepted: bool
    #: What is wrong with the file as a whole; "" when nothing is.
    fault: str = ""


# --- what is told while the work goes on ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """A step that is not the search itself: installing Lean, starting it, verifying."""

    text: str
    #: How far it is, in the same unit as ``total``; both 0 where that is not known.
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """The search for one ``sorry`` begins; ``index`` counts from 1 to ``total`` within a run."""

    theorem: str
    index: int
    total: int
    statement: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How a search stands."""

    theorem: str
    index: int
    total: int
    expansions: int
    tactics: int
    tactics_per_second: float
    #: The most promising open goal, as Lean prints it.
    best_goal: str


@dataclass(frozen=True, slots=True)
class Finished:
    """One ``sorry`` is settled."""

    report: TheoremReport


Event = Stage | Started | Progress | Finished
OnEvent = Callable[[Event], None]
