"""What a tactic generator is, and which of its tactics are refused before Lean ever sees them.

A generator is asked for tactics at a state and answers with candidates and their natural
log-probabilities. Nothing it says is trusted: :func:`admissible` is applied to every answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from prover.environment import ANY_SCOPE, Scope, TacticState


@dataclass(frozen=True, slots=True)
class Step:
    """One tactic of a proof, and the goals it was run on (as Lean prints them, the main goal first)."""

    goals: tuple[str, ...]
    tactic: str


@dataclass(frozen=True, slots=True)
class Query:
    """A request for tactics at ``state``."""

    state: TacticState
    #: How the proof got here, from the root; empty at the root.
    history: tuple[Step, ...]
    #: The theorem under proof, as its author wrote it.
    statement: str
    #: The search's seed; a generator that samples mixes it with the state.
    seed: int = 0
    scope: Scope = ANY_SCOPE
    #: Tactics that were run at the state already: to propose them again is no use.
    tried: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tactic and its natural log-probability, at most 0."""

    tactic: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A candidate that will not be run, and why."""

    candidate: Candidate
    reason: str


class TacticGenerator(Protocol):
    """Proposes tactics. One call may hold many queries, so that a model can batch them."""

    @property
    def name(self) -> str: ...

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        """Return, for each query in order, its candidates: unique, the best first."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A generator that learns from proofs by remembering them."""

    def learn(self, proof: Sequence[Step], position: int | None) -> None:
        """Remember an accepted proof of the theorem at this place (see :attr:`Scope.position`)."""
        ...


@dataclass(frozen=True, slots=True)
class Tried:
    """A tactic that Lean ran at a state."""

    tactic: str
    #: It led to another state, or ended the proof; else Lean answered with an error.
    worked: bool


@runtime_checkable
class Observer(Protocol):
    """A generator that is told how tactics went, whoever had proposed them."""

    def observe(self, query: Query, tried: Sequence[Tried]) -> None:
        """Take in how tactics went at the query's state, and return at once: the search waits.

        Tactics that took Lean with them, and those that were refused before it saw them, are not among them.
        """
        ...


@runtime_checkable
class Scheduled(Protocol):
    """A generator of several stages: the quick ones have their time before the slow ones are asked.

    Each stage proposes what the one before it does, and more. Asked as a whole, it answers as the last one.
    """

    @property
    def stages(self) -> int:
        """How many there are, at least 1."""
        ...

    async def stage(self, number: int) -> TacticGenerator:
        """Return a stage, from 0; the first time, it may have to be made, which can take long."""
        ...


def stages_of(generator: TacticGenerator) -> int:
    """Return how many stages a generator has."""
    return generator.stages if isinstance(generator, Scheduled) else 1


async def stage_of(generator: TacticGenerator, number: int) -> TacticGenerator:
    """Return a stage of a generator, from 0; of one without stages, itself."""
    return await generator.stage(number) if isinstance(generator, Scheduled) else generator


def batch_size(generator: TacticGenerator) -> int:
    """Return how many queries a generator likes to be asked at once; 1 unless it says otherwise."""
    return int(getattr(generator, "batch", 1))


def content_hash(generator: TacticGenerator) -> str:
    """Return the hash of a generator's code and settings, 16 hex digits; of one without any, its name."""
    return str(getattr(generator, "content_hash", generator.name))


def memory_hash(generator: TacticGenerator) -> str:
    """Return the hash of what a generator has learned so far; "" when nothing, or when it does not learn."""
    return str(getattr(generator, "memory_hash", ""))


def admissible(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Refusal]]:
    """Split a generator's answer into what may be run (unique, best first) and what is refused."""
    accepted: dict[str, Candidate] = {}
    refused: list[Refusal] = []
    for candidate in sorted(candidates, key=_best_first):
        reason = _improbable(candidate.logprob) or well_formed(candidate.tactic)
        if reason is not None:
            refused.append(Refusal(candidate, reason))
        else:
            accepted.setdefault(candidate.tactic, candidate)
    return list(accepted.values()), refused


def _best_first(candidate: Candidate) -> float:
    return math.inf if math.isnan(candidate.logprob) else -candidate.logprob


def _improbable(logprob: float) -> str | None:
    if math.isfinite(logprob) and logprob <= 0.0:
        return None
    return f"{logprob} is not the logarithm of a probability above 0"


# --- well-formed tactics --------------------------------------------------------------------------


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: They prove nothing, trust compiled code, run code of their own, or search the library for minutes.
FORBIDDEN = _names(
    "sorry admit stop sorryAx native_decide bv_decide ofReduceBool ofReduceNat trustCompiler "
    "apply? exact? rw? run_tac by_elab run_cmd run_elab run_meta unsafe implemented_by extern"
)

#: Keywords of commands: a tactic that holds one ends the proof and starts something else.
COMMANDS = _names(
    "theorem lemma def abbrev example instance axiom opaque inductive structure class coinductive mutual "
    "namespace section end variable universe import export public private protected noncomputable partial "
    "attribute macro macro_rules syntax declare_syntax_cat notation infix infixl infixr prefix postfix "
    "elab elab_rules initialize builtin_initialize deriving include omit local scoped"
)

CLOSING = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "‹": "›"}

# Lean's own rule for the letters of a name (λ, Π and Σ are symbols).
NAME_LETTERS = "A-Za-z_À-ÖØ-öø-ſΑ-ΟΡΤ-Ωα-κμ-ωϊ-ϻἀ-῾℀-⅏𝒜-𝖟"
NAME_PART = rf"(?:[{NAME_LETTERS}][{NAME_LETTERS}0-9'!?₀-₉ₐ-ₜᵢ-ᵪⱼ]*|«[^»\n]*»)"
_TOKEN = re.compile(
    rf"""
      (?P<string>  r(?P<hashes>\#*)".*?"(?P=hashes) | "(?:\\.|[^"\\])*" )
    | (?P<char>    '(?:\\(?:x..|u....|.)|[^'\\\n])' )
    | (?P<comment> --[^\n]* )
    | (?P<block>   /-|-/ )
    | (?P<word>    {NAME_PART}(?:\.{NAME_PART})* )
    | (?P<open>    [(\[{{⟨‹] )
    | (?P<close>   [)\]}}⟩›] )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMAND_MARK = re.compile(r"#[A-Za-z]+|@\[")


class _Malformed(Exception):
    """Carries the reason out of the scanner."""


def well_formed(tactic: str) -> str | None:
    """Return why the text cannot be one tactic of an honest proof, or None when it may be.

    A first filter, not the judge: what passes is still run by Lean and verified in a fresh one.
    """
    try:
        tokens = list(_tokens(tactic))
        _check_brackets(tokens)
        _check_words(tactic, tokens)
        _check_lines(tactic, tokens)
    except _Malformed as malformed:
        return str(malformed)
    return None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def _tokens(tactic: str) -> Iterator[_Token]:
    """Yield the tokens that Lean would read, without space; a block comment is one token."""
    position = 0
    while position < len(tactic):
        match = _TOKEN.match(tactic, position)
        assert match is not None, "the last alternative matches any character"
        kind = match.lastgroup or ""
        end = _comment_end(tactic, position) if kind == "block" else match.end()
        text = tactic[position:end]
        if text == '"':
            raise _Malformed("a string is not closed")
        if not text.isspace():
            yield _Token("string" if kind == "hashes" else kind, text, position)
        position = end


def _comment_end(tactic: str, start: int) -> int:
    """Return where the (nested) block comment that starts here ends."""
    depth = 0
    for mark in re.compile(r"/-|-/").finditer(tactic, start):
        depth += 1 if mark.group() == "/-" else -1
        if depth < 0:
            break
        if depth == 0:
            return mark.end()
    raise _Malformed("a comment is not closed, or closed without being opened")


def _check_brackets(tokens: Sequence[_Token]) -> None:
    expected: list[str] = []
    for token in tokens:
        if token.kind == "open":
            expected.append(CLOSING[token.text])
        elif token.kind == "close" and (not expected or expected.pop() != token.text):
            raise _Malformed(f"the bracket {token.text} closes nothing")
    if expected:
        raise _Malformed(f"the bracket {expected[-1]} is missing")


def _check_words(tactic: str, tokens: Sequence[_Token]) -> None:
    words = set(_words(tactic, tokens))
    for word in sorted(words & (FORBIDDEN | COMMANDS)):
        raise _Malformed(f"{word} is not allowed" if word in FORBIDDEN else f"{word} starts a command")
    if "decide" in words and re.search(r"\+\s*native\b|native\s*:=\s*true", tactic):
        raise _Malformed("decide +native is not allowed")
    for token in tokens:
        if token.kind == "other" and (mark := _COMMAND_MARK.match(tactic, token.start)):
            raise _Malformed(f"{mark.group()} starts a command")


def _words(tactic: str, tokens: Sequence[_Token]) -> Iterator[str]:
    """Yield whole names; a name after a dot is a field of something and does not count."""
    for token in tokens:
        if token.kind == "word" and tactic[token.start - 1 : token.start] != ".":
            name = token.text.removeprefix("_root_.").replace("«", "").replace("»", "")
            yield name.removeprefix("Lean.")
        elif token.kind == "string":  # which may be interpolated: what stands in braces is code
            for code in re.findall(r"\{([^}]*)\}", token.text):
                yield from re.findall(rf"{NAME_PART}", code)


def _check_lines(tactic: str, tokens: Sequence[_Token]) -> None:
    code = [token for token in tokens if token.kind not in ("comment", "block")]
    if not code:
        raise _Malformed("there is no tactic in it")
    if tokens[-1].kind == "comment":
        raise _Malformed("a comment at its end would hide what follows")
    for token in tokens:
        at_margin = token.start > 0 and tactic[token.start - 1] == "\n"
        if at_margin and (token.kind in ("word", "block") or token.text in "@#") and token.text != "_":
            raise _Malformed(f"a line that starts with {token.text[:20]} at the margin could be a command")
