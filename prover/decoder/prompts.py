"""The forms of a prompt for our own decoder: goal, history, context, whole.

    goal      <GOAL> g </GOAL> <TACTIC>
    history   <THEOREM> s  <GOAL> g0 </GOAL> <TACTIC> t0 <END> ...  <GOAL> g </GOAL> <TACTIC>
    context   <LEMMA> l ...  and then as history
    whole     <THEOREM> s <PROOF> t0 <TACTIC> t1 ... <TACTIC>

What is asked for is a tactic and then <END>; of ``whole``, the other tactics with <TACTIC> between them and
then <END>. A state's prompt starts with its parent's prompt and the tactic between them (as long as nothing
had to be cut), so that a decoder's cache can be used again.

What does not fit is cut in this order: the oldest step of the history, then the declaration farthest from the
goal, then the end of the statement, then of the current goals the last one, then the main goal's hypotheses
from the top, and the end of its target. What is empty is left out, and its mark with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from prover.generators.base import NAME_PART, Query, Step


class Mark(StrEnum):
    """Special tokens; they never come from a text, whatever it holds."""

    PAD = "<PAD>"
    END = "<END>"
    THEOREM = "<THEOREM>"
    LEMMA = "<LEMMA>"
    GOAL = "<GOAL>"
    GOAL_END = "</GOAL>"
    TACTIC = "<TACTIC>"
    PROOF = "<PROOF>"


#: A special token or a text.
Piece = Mark | str


class PromptForm(StrEnum):
    """What of a situation the model is shown."""

    GOAL = "goal"
    HISTORY = "history"
    CONTEXT = "context"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Situation:
    """A proof under way, as a prompt can tell it."""

    #: The theorem's statement as its author wrote it.
    statement: str
    #: The steps from the root to here, the first one first.
    history: tuple[Step, ...]
    #: The goals here as Lean prints them, the main goal first.
    goals: tuple[str, ...]
    #: Accessible declarations, ``name : type``, the one nearest to the goal first.
    context: tuple[str, ...] = ()


def situation_of(query: Query, context: Sequence[str] = ()) -> Situation:
    """What a query tells of its proof.

    Args:
        context: accessible declarations, ``name : type``, the one nearest to the goal first.
    """
    goals = tuple(goal.pretty for goal in query.state.goals)
    return Situation(bare(query.statement), query.history, goals, tuple(context))


def bare(statement: str) -> str:
    """A statement without the proof that is still missing from it.

    >>> bare("theorem a_or_not (a : Prop) : a ∨ ¬a := by sorry")
    'theorem a_or_not (a : Prop) : a ∨ ¬a'
    """
    return _MISSING_PROOF.sub("", statement).strip()


def name_of(statement: str) -> str:
    """The name of the theorem that is stated; "" for an ``example`` or a bare proposition.

    >>> name_of("@[simp] theorem Nat.foo' : 1 = 1")
    "Nat.foo'"
    """
    match = _NAMED.search(statement)
    return match.group(1) if match else ""


_MISSING_PROOF = re.compile(r"\s*:=\s*(?:by\b\s*)?(?:sorry\s*)?\Z")
_NAMED = re.compile(rf"\b(?:theorem|lemma)\s+({NAME_PART}(?:\.{NAME_PART})*)")


# --- prompts and answers --------------------------------------------------------------------------


def compose(
    form: PromptForm, situation: Situation, budget: int, count: Callable[[str], int]
) -> tuple[Piece, ...]:
    """Return a situation's prompt in at most ``budget`` tokens.

    Args:
        budget: tokens, at least :func:`minimum`. A mark is one token.
        count: the number of a text's tokens. It is asked once for each text of the situation, and again
            for each try at cutting one, whose number grows with the logarithm of what there is to cut.

    Raises:
        ValueError: not even the marks fit.
    """
    count = cache(count)
    fitted = cut_to_fit(_shown(form, situation), lambda tried: _size(_pieces(form, tried), count) <= budget)
    if fitted is None:
        raise ValueError(f"a prompt of the form {form} takes {minimum(form)} tokens or more, not {budget}")
    return _pieces(form, fitted)


def minimum(form: PromptForm) -> int:
    """Tokens of a prompt of this form from which all that can be cut was cut."""
    return len(_pieces(form, Situation("", (), ())))


def answer(tactic: str) -> tuple[Piece, ...]:
    """What is to follow a prompt of any form but ``whole``."""
    return (*_text(tactic), Mark.END)


def verdict(works: bool) -> Mark:
    """What is to follow a tactic and its end where it is judged: of a proof, or another one is needed."""
    return Mark.PROOF if works else Mark.TACTIC


def whole_answer(tactics: Sequence[str]) -> tuple[Piece, ...]:
    """What is to follow a prompt of the form ``whole``: the tactics that are missing."""
    first, *others = tactics or ("",)
    return (*_text(first), *(piece for tactic in others for piece in (Mark.TACTIC, *_text(tactic))), Mark.END)


def _shown(form: PromptForm, situation: Situation) -> Situation:
    """The situation without what a prompt of this form does not tell."""
    match form:
        case PromptForm.GOAL:
            return Situation("", (), situation.goals)
        case PromptForm.HISTORY:
            return replace(situation, context=())
        case PromptForm.CONTEXT:
            return situation
        case PromptForm.WHOLE:
            return replace(situation, goals=(), context=())


def _pieces(form: PromptForm, situation: Situation) -> tuple[Piece, ...]:
    # Farthest first, so that the nearest stands nearest to the goal.
    lemmas = [piece for text in reversed(situation.context) for piece in _marked(Mark.LEMMA, text)]
    theorem = _marked(Mark.THEOREM, situation.statement)
    if form is PromptForm.WHOLE:
        begun = [piece for step in situation.history for piece in (*_text(step.tactic), Mark.TACTIC)]
        return (*theorem, Mark.PROOF, *begun)
    steps = [piece for step in situation.history for piece in (*_asked(step.goals), *answer(step.tactic))]
    return (*lemmas, *theorem, *steps, *_asked(situation.goals))


def _asked(goals: Sequence[str]) -> tuple[Piece, ...]:
    return (Mark.GOAL, *_text("\n\n".join(goals)), Mark.GOAL_END, Mark.TACTIC)


def _marked(mark: Mark, text: str) -> tuple[Piece, ...]:
    return (mark, text) if text else ()


def _text(text: str) -> tuple[Piece, ...]:
    return (text,) if text else ()


def _size(pieces: Sequence[Piece], count: Callable[[str], int]) -> int:
    return sum(1 if isinstance(piece, Mark) else count(piece) for piece in pieces)


# --- cutting --------------------------------------------------------------------------------------


def cut_to_fit(situation: Situation, fits: Callable[[Situation], bool]) -> Situation | None:
    """Cut a situation as little as needed, in the order above; None where it does not fit with nothing left.

    Args:
        fits: whether a prompt of this situation is short enough. Where one fits, those that are cut
            further are taken to fit as well; what is returned was asked about in any case.
    """
    if fits(situation):
        return situation
    sizes = _sizes(situation)
    too_little, enough = 0, sum(sizes)
    found = _cut(situation, sizes, enough)
    if not fits(found):
        return None
    while enough - too_little > 1:
        middle = (too_little + enough) // 2
        tried = _cut(situation, sizes, middle)
        if fits(tried):
            enough, found = middle, tried
        else:
            too_little = middle
    return found


def _sizes(situation: Situation) -> tuple[int, ...]:
    """Of how many parts each thing consists that can be cut, what is cut first being first."""
    hypotheses, target = _main_goal(situation.goals)
    return (
        len(situation.history),
        len(situation.context),
        _words(situation.statement),
        max(0, len(situation.goals) - 1),
        len(hypotheses),
        _words(target),
    )


def _cut(situation: Situation, sizes: Sequence[int], parts: int) -> Situation:
    """The situation without so many parts of those that are cut first."""
    history, context, statement, further, hypotheses, target = _spread(parts, sizes)
    goals = situation.goals[: len(situation.goals) - further]
    if hypotheses or target:
        above, below = _main_goal(goals)
        goals = ("".join(above[hypotheses:]) + _shortened(below, target),)
    return Situation(
        _shortened(situation.statement, statement),
        situation.history[history:],
        goals,
        situation.context[: len(situation.context) - context],
    )


def _spread(parts: int, sizes: Sequence[int]) -> Iterator[int]:
    for size in sizes:
        yield min(parts, size)
        parts -= min(parts, size)


def _main_goal(goals: Sequence[str]) -> tuple[list[str], str]:
    """The main goal's hypotheses, each with its line breaks, and its target with all that follows."""
    text = goals[0] if goals else ""
    turnstile = re.search(r"^⊢", text, re.MULTILINE)
    above = text[: turnstile.start()] if turnstile else ""
    # A long hypothesis goes on in indented lines.
    return [part for part in re.split(r"(?<=\n)(?=\S)", above) if part], text[len(above) :]


def _words(text: str) -> int:
    # What is nothing but blanks is cut as one.
    return len(text.split()) or len(text[:1])


def _shortened(text: str, words: int) -> str:
    """The text without so many words at its end."""
    if not words:
        return text
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return text[: ends[-words - 1]] if words < len(ends) else ""
