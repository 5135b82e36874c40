"""The messages between Python and the tactic server, one dataclass each.

Mirrors ``lean_project/TacticServer/Messages.lean``: whoever changes one file changes the other.
A request is one line of JSON with an ``id`` and an ``op``; its answer is one line of JSON with the
same ``id``, a ``status`` (:class:`Status`) and ``ms``, the milliseconds the Lean side spent on it.
The golden transcripts in ``tests/transcripts`` show every message there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

Json = Mapping[str, Any]


class Status(StrEnum):
    """What became of a request."""

    OK = "ok"
    #: ``run`` only: no goal is left and the proof term passed the kernel and the axiom check.
    PROVED = "proved"
    #: ``run`` only: the tactic failed, which is normal in a search.
    TACTIC_FAILED = "tactic_failed"
    #: The state was dropped, or was made by another process.
    UNKNOWN_STATE = "unknown_state"
    #: An import that this Lean cannot find; ``error`` names it.
    MISSING_MODULE = "missing_module"
    #: The request itself is malformed: a fault in the caller.
    BAD_REQUEST = "bad_request"
    #: Lean threw outside any tactic: a fault in the server or its limits.
    INTERNAL = "internal"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request; heartbeats are Lean's (thousands of small allocations), 0 is none."""

    heartbeats: int = 200_000
    recursion: int = 512


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a source: line from 1, column from 0 (in characters), offset in UTF-8 bytes."""

    line: int
    column: int
    byte: int


@dataclass(frozen=True, slots=True)
class Message:
    """Something Lean said about a source."""

    severity: Severity
    position: Position
    text: str


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One local declaration of a goal."""

    name: str
    type: str
    #: The body of a ``let``/``have`` variable, else None.
    value: str | None
    #: The type is a proposition.
    is_prop: bool
    #: The inductive type it belongs to (``Nat``, ``And``, ``Or`` ...), if its type is one.
    inductive: str | None
    #: The name can be written in a tactic (it has no dagger).
    accessible: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, structured and as Lean prints it."""

    hypotheses: tuple[Hypothesis, ...]
    target: str
    #: As Lean prints it: hypotheses, one a line, then ``⊢ target``.
    pretty: str
    #: The goal's tag (``zero``, ``succ``, ``inl`` ...) or "".
    tag: str
    #: Head symbol of the target (``Eq``, ``And``, ``Exists`` ...; ``∀`` for a pi type) or "".
    head: str
    #: Definitions of the file itself that the goal mentions, for ``unfold``.
    definitions: tuple[str, ...]
    #: The library's constants that the goal and its propositions mention, each once, sorted.
    constants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sorry:
    """One ``sorry`` of a source, with its goal in its own context."""

    #: The theorem or definition it stands in; ``_example_N`` for the Nth ``example``.
    declaration: str
    start: Position
    end: Position
    #: It stands in a tactic block (else it is a term).
    tactic: bool
    #: Its goal is a proposition (else it is data, which is not proved but defined).
    is_prop: bool
    state: int
    goal: Goal


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration of the environment."""

    name: str
    #: theorem, definition, axiom, inductive, constructor, recursor, opaque or quot.
    kind: str
    #: The module that declares it; "" when the source itself does.
    module: str
    type: str
    #: The constants of its type, each once, sorted.
    constants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the environment."""

    name: str
    #: The modules it imports itself.
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found about one declaration of the original source."""

    name: str
    accepted: bool
    #: "" when accepted.
    reason: str
    axioms: tuple[str, ...]


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A module's source; ``name`` is the module name, ``path`` the file name shown in messages."""

    name: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Elaborate a source (after the project's own modules it imports, in order)."""

    op: ClassVar[str] = "open"
    source: Source
    dependencies: tuple[Source, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class StatementRequest:
    """Elaborate a bare statement (a term of type ``Prop``) after a header source."""

    op: ClassVar[str] = "statement"
    header: Source
    statement: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class TheoremRequest:
    """Open a library theorem as a goal, in an environment of what its module imports and nothing else.

    Answered as ``open`` is, with one ``sorry`` at no place. The binders of the statement that have a name
    (and the instances between them) are hypotheses of the goal.
    """

    op: ClassVar[str] = "theorem"
    module: str
    name: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Run one tactic on a state; the state stays usable."""

    op: ClassVar[str] = "run"
    state: int
    tactic: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """Name declarations whose ``sorry`` has been proved meanwhile: proofs may use them."""

    op: ClassVar[str] = "trust"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Forget states; unknown ones are no fault."""

    op: ClassVar[str] = "drop"
    states: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeclarationsRequest:
    """List declarations of the last opened source's environment, by index from ``start``."""

    op: ClassVar[str] = "declarations"
    start: int = 0
    limit: int = 1000
    #: Only those declared in this module ("" is the source itself, None is all).
    module: str | None = None


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Compile a finished source and compare it with the original, declaration by declaration."""

    op: ClassVar[str] = "check"
    original: Source
    candidate: Source
    dependencies: tuple[Source, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class CheckTheoremRequest:
    """Check a proof (the lines of a tactic block) of a library theorem; answered as ``check`` is."""

    op: ClassVar[str] = "check_theorem"
    module: str
    name: str
    proof: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class ModulesRequest:
    """List the modules of the last opened source's environment, each after what it imports."""

    op: ClassVar[str] = "modules"


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """Ask what is running."""

    op: ClassVar[str] = "info"


Request = (
    OpenRequest
    | StatementRequest
    | TheoremRequest
    | RunRequest
    | TrustRequest
    | DropRequest
    | DeclarationsRequest
    | CheckRequest
    | CheckTheoremRequest
    | ModulesRequest
    | InfoRequest
)


# --- answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Any answer; ``error`` is "" unless the status says that something went wrong."""

    id: int
    status: Status
    ms: float
    error: str
    body: Json

    @property
    def state(self) -> int:
        """``run``/``statement``: the id of the new state."""
        return int(self.body["state"])

    @property
    def goals(self) -> tuple[Goal, ...]:
        """``run``/``statement``: the goals of the new state, the main goal first."""
        return tuple(_goal(g) for g in self.body["goals"])

    @property
    def messages(self) -> tuple[Message, ...]:
        """``open``/``check``: what Lean said, in source order."""
        return tuple(
            Message(Severity(m["severity"]), Position(**m["position"]), m["text"])
            for m in self.body["messages"]
        )

    @property
    def sorries(self) -> tuple[Sorry, ...]:
        """``open``: every ``sorry`` of the source, in source order."""
        return tuple(_sorry(s) for s in self.body["sorries"])

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """``declarations``: those of the window asked for; ``body["next"]`` is the next start, or None."""
        return tuple(
            Declaration(**{**d, "constants": tuple(sorted(d["constants"]))})
            for d in self.body["declarations"]
        )

    @property
    def modules(self) -> tuple[Module, ...]:
        """``modules``: each after those it imports."""
        return tuple(Module(m["name"], tuple(dict.fromkeys(m["imports"]))) for m in self.body["modules"])

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """``check``: one verdict a theorem (or definition with a ``sorry``) of the original, in no order."""
        return tuple(
            Verdict(v["name"], v["accepted"], v["reason"], tuple(v["axioms"])) for v in self.body["verdicts"]
        )


def encode(request: Request, request_id: int) -> str:
    """Return the request as one line of JSON, without the line break."""
    return json.dumps({"id": request_id, "op": request.op, **asdict(request)}, ensure_ascii=False)


def decode(line: str) -> Answer:
    """Read an answer.

    Raises:
        ValueError: the line is not an answer of the tactic server.
    """
    try:
        body = json.loads(line)
        return Answer(
            id=int(body["id"]),
            status=Status(body["status"]),
            ms=float(body["ms"]),
            error=str(body.get("error", "")),
            body=body,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an answer of the tactic server: {line[:200]!r}") from error


def _goal(body: Json) -> Goal:
    return Goal(
        hypotheses=tuple(Hypothesis(**h) for h in body["hypotheses"]),
        target=body["target"],
        pretty=body["pretty"],
        tag=body["tag"],
        head=body["head"],
        definitions=tuple(body["definitions"]),
        constants=tuple(sorted(body["constants"])),
    )


def _sorry(body: Json) -> Sorry:
    return Sorry(
        declaration=body["declaration"],
        start=Position(**body["start"]),
        end=Position(**body["end"]),
        tactic=body["tactic"],
        is_prop=body["is_prop"],
        state=body["state"],
        goal=_goal(body["goal"]),
    )
