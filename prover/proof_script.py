"""From the tactics a search found to the proof a person would write: shortened, with bullets.

A search's proof is a flat list in which every tactic works on the main goal. Replaying it shows the goals
before and after each step, and from these :func:`arrange` finds the steps that belong to each goal.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prover.environment import Environment, ProofFinished, TacticResult, TacticState
from prover.generators.base import NAME_PART

Goals = tuple[str, ...]

INDENT = "  "
BULLET = "· "


@dataclass(frozen=True, slots=True)
class Step:
    """A tactic with the goals before and after it, as Lean prints them, the main goal first."""

    tactic: str
    before: Goals
    after: Goals


@dataclass(frozen=True, slots=True)
class Bullets:
    """One block of items for each goal that the step before them left."""

    blocks: tuple[tuple[Item, ...], ...]


Item = Step | Bullets


@dataclass(frozen=True, slots=True)
class Script:
    """A proof written down."""

    #: As a person would write it, with bullets.
    lines: tuple[str, ...]
    #: As the search ran it, names out of reach of the theorem's own: what to fall back on.
    flat: tuple[str, ...]
    #: Its steps; () where it does not replay.
    steps: tuple[Step, ...]


async def write_down(environment: Environment, proof: Sequence[str], declaration: str = "") -> Script:
    """Shorten a proof that a search found, and lay it out.

    Args:
        declaration: the full name of the theorem.

    Raises:
        LeanUnavailable: Lean cannot be started any more.
    """
    short = await shorten(environment, proof)
    steps = await replay(environment, short) or ()
    flat = tuple(format_flat([from_the_root(tactic, declaration) for tactic in short]))
    return Script(tuple(format_proof(steps)) if steps else flat, flat, steps)


_NAME = re.compile(rf"(?<![\w.'!?«»]){NAME_PART}(?:\.{NAME_PART})*")


def from_the_root(tactic: str, declaration: str) -> str:
    """Say ``_root_.`` before each name that could be the theorem's own.

    While a search runs, its theorem is not there, and ``foo`` is another; in ``theorem ns.foo`` it would be
    the theorem itself, and the proof go round in a circle.
    """
    parts = declaration.split(".")
    own = {".".join(parts[i:]) for i in range(len(parts)) if declaration}

    def rooted(found: re.Match[str]) -> str:
        name = found.group()
        mine = any(name == one or name.startswith(f"{one}.") for one in own)
        return f"_root_.{name}" if mine else name

    return _NAME.sub(rooted, tactic)


# --- replay and shorten ---------------------------------------------------------------------------


async def replay(environment: Environment, tactics: Sequence[str]) -> tuple[Step, ...] | None:
    """Run a proof again from the root and return its steps, or None when it does not finish.

    Steps after the one that finishes the proof are left out.

    Raises:
        LeanUnavailable: Lean cannot be started any more.
    """
    async with _replayer(environment) as replayer:
        proof = await replayer.run(environment.root, tactics)
    if proof is None:
        return None
    goals = [_goals(state) for state in proof.states]
    return tuple(
        Step(tactic, before, after)
        for tactic, before, after in zip(proof.tactics, goals, [*goals[1:], ()], strict=True)
    )


async def shorten(environment: Environment, tactics: Sequence[str], *, attempts: int = 64) -> tuple[str, ...]:
    """Drop the steps that a proof does not need, trying at most ``attempts`` shorter proofs.

    Each step is left out in turn, the last first; then again the first first, since a step may become
    unnecessary once another is gone. A proof that does not replay is returned as it is.

    Raises:
        LeanUnavailable: Lean cannot be started any more.
    """
    async with _replayer(environment) as replayer:
        proof = await replayer.run(environment.root, tactics)
        if proof is None:
            return tuple(tactics)
        for index in reversed(range(len(proof.tactics))):
            if attempts > 0:
                attempts -= 1
                proof = await replayer.without(proof, index) or proof
        index = 0
        while attempts > 0 and index < len(proof.tactics):
            attempts -= 1
            shorter = await replayer.without(proof, index)
            proof, index = (shorter, index) if shorter else (proof, index + 1)
    return proof.tactics


@dataclass(frozen=True, slots=True)
class _Proof:
    """A proof that finishes, and the state before each of its tactics."""

    tactics: tuple[str, ...]
    states: tuple[TacticState, ...]


@dataclass(slots=True)
class _Replayer:
    """Runs proofs; keeps what it saw by path, so that nothing is run twice and all states can be dropped."""

    environment: Environment
    seen: dict[tuple[str, ...], TacticResult]

    async def run(self, state: TacticState, tactics: Sequence[str]) -> _Proof | None:
        """Run the tactics one after the other; None unless they finish the proof."""
        states: list[TacticState] = []
        for tactic in tactics:
            states.append(state)
            result = await self._step(state, tactic)
            if isinstance(result, ProofFinished):
                return _Proof(tuple(tactics[: len(states)]), tuple(states))
            if not isinstance(result, TacticState):
                return None
            state = result
        return None

    async def _step(self, state: TacticState, tactic: str) -> TacticResult:
        path = (*state.path, tactic)
        if path not in self.seen:
            self.seen[path] = (await self.environment.run_tac(state, tactic)).result
        return self.seen[path]

    async def without(self, proof: _Proof, index: int) -> _Proof | None:
        """Leave out one tactic; None when the proof needs it."""
        if index >= len(proof.tactics):
            return None
        rest = await self.run(proof.states[index], proof.tactics[index + 1 :])
        if rest is None:
            return None
        return _Proof(proof.tactics[:index] + rest.tactics, proof.states[:index] + rest.states)


@asynccontextmanager
async def _replayer(environment: Environment) -> AsyncIterator[_Replayer]:
    replayer = _Replayer(environment, {})
    try:
        yield replayer
    finally:
        made = [result for result in replayer.seen.values() if isinstance(result, TacticState)]
        if made:
            await environment.drop(made)


def _goals(state: TacticState) -> Goals:
    return tuple(goal.pretty for goal in state.goals)


# --- arrange and format ---------------------------------------------------------------------------


def format_proof(steps: Sequence[Step], indent: str = "") -> list[str]:
    """Return the lines of the proof, each behind ``indent``, with a bullet for each of several goals.

    Lines of one tactic keep their indentation relative to each other; blank lines are left out.
    """
    return [indent + line for line in _lines(arrange(steps))]


def format_flat(tactics: Sequence[str], indent: str = "") -> list[str]:
    """Return the lines of the proof without any bullet: exactly what the search ran."""
    return [indent + line for tactic in tactics for line in _tactic_lines(tactic)]


def arrange(steps: Sequence[Step]) -> tuple[Item, ...]:
    """Group the steps of a finished proof by the goals they work on.

    Where a step leaves several goals in place of the one it worked on, each gets a block of its own, provided
    that no step in a block touches a goal outside it; else that part stays flat, which is always right.
    """
    items: list[Item] = []
    position = 0
    while position < len(steps):
        step = steps[position]
        items.append(step)
        position += 1
        ends = _block_ends(steps, position, _created(step))
        if len(ends) > 1:
            starts = [position, *ends[:-1]]
            blocks = (arrange(steps[start:end]) for start, end in zip(starts, ends, strict=True))
            items.append(Bullets(tuple(blocks)))
            position = ends[-1]
    return tuple(items)


def _untouched(step: Step) -> int:
    """How many goals at the end of the list the step left alone; it works on the main goal at least."""
    most = min(len(step.before) - 1, len(step.after))
    count = 0
    while count < most and step.before[-1 - count] == step.after[-1 - count]:
        count += 1
    return count


def _created(step: Step) -> int:
    """How many goals stand in place of the main one; 0 also when other goals changed as well."""
    untouched = _untouched(step)
    return len(step.after) - untouched if untouched == len(step.before) - 1 else 0


def _block_ends(steps: Sequence[Step], start: int, goals: int) -> list[int]:
    """Return, for each of the first ``goals`` goals before ``start``, where the steps that close it end.

    Empty when that cannot be told: a step reaches beyond its goal, or the proof ends before.
    """
    if goals < 2:
        return []
    ends: list[int] = []
    rest = len(steps[start].before) - 1 if start < len(steps) else 0
    for position in range(start, len(steps)):
        if _untouched(steps[position]) < rest:
            return []
        if len(steps[position].after) == rest:
            ends.append(position + 1)
            rest -= 1
            if len(ends) == goals:
                return ends
    return []


def _lines(items: Sequence[Item]) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, Step):
            lines.extend(_tactic_lines(item.tactic))
            continue
        for block in item.blocks:
            first, *others = _lines(block)
            lines.append(BULLET + first)
            lines.extend(INDENT + line for line in others)
    return lines


def _tactic_lines(tactic: str) -> list[str]:
    """The lines of one tactic, moved so that the first starts in column 0."""
    lines = [line.rstrip() for line in tactic.split("\n") if line.strip()]
    margin = len(lines[0]) - len(lines[0].lstrip(" ")) if lines else 0
    return [line[min(margin, len(line) - len(line.lstrip(" "))) :] for line in lines]
