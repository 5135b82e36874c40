"""Prompts of our own decoder: what is in them, in what order it is cut, and that it always fits."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder import prompts
from prover.decoder.prompts import (
    Mark,
    Piece,
    PromptForm,
    Situation,
    answer,
    compose,
    minimum,
    name_of,
    situation_of,
    whole_answer,
)
from prover.environment import TacticState
from prover.generators.base import Query, Step
from prover.lean.messages import Goal

#: Enough for anything here.
LARGE = 1_000_000

HISTORY = (Step(("a b : Nat\n⊢ p a → q b",), "intro h"), Step(("h : p a\n⊢ q b", "⊢ r"), "apply foo"))
MAIN = "a b : Nat\nh : p a ∧\n    p b\n⊢ q a b ∧\n    r"
SITUATION = Situation(
    "theorem foo (a b : Nat) : p a → q b", HISTORY, (MAIN, "⊢ r", "⊢ s t"), ("near : q x", "far : p x")
)


def words(text: str) -> int:
    return len(text.split())


def size(pieces: Sequence[Piece]) -> int:
    return sum(1 if isinstance(piece, Mark) else words(piece) for piece in pieces)


def texts_after(mark: Mark, pieces: Sequence[Piece]) -> list[str]:
    """The text that follows each of these marks, or "" where another mark follows."""
    found = [text for before, text in pairwise(pieces) if before is mark]
    return ["" if isinstance(text, Mark) else text for text in found]


text = st.text(alphabet="ab ⊢:\n<>·", max_size=30) | st.sampled_from(
    [MAIN, "<GOAL>", "⊢ ⊢", *(mark.value for mark in Mark)]
)
goals = st.lists(text, max_size=3).map(tuple)
situations = st.builds(
    Situation,
    text,
    st.lists(st.builds(Step, goals, text), max_size=4).map(tuple),
    goals,
    st.lists(text, max_size=4).map(tuple),
)
forms = st.sampled_from(PromptForm)


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(prompts)
    assert result.attempted and not result.failed


# --- what is in a prompt --------------------------------------------------------------------------


def test_the_goal_alone() -> None:
    assert compose(PromptForm.GOAL, SITUATION, LARGE, words) == (
        Mark.GOAL,
        f"{MAIN}\n\n⊢ r\n\n⊢ s t",
        Mark.GOAL_END,
        Mark.TACTIC,
    )


def test_the_history() -> None:
    assert compose(PromptForm.HISTORY, SITUATION, LARGE, words) == (
        *(Mark.THEOREM, SITUATION.statement),
        *(Mark.GOAL, HISTORY[0].goals[0], Mark.GOAL_END, Mark.TACTIC, "intro h", Mark.END),
        *(Mark.GOAL, "h : p a\n⊢ q b\n\n⊢ r", Mark.GOAL_END, Mark.TACTIC, "apply foo", Mark.END),
        *compose(PromptForm.GOAL, SITUATION, LARGE, words),
    )


def test_the_nearest_declaration_stands_nearest_to_the_goal() -> None:
    assert compose(PromptForm.CONTEXT, SITUATION, LARGE, words) == (
        *(Mark.LEMMA, "far : p x", Mark.LEMMA, "near : q x"),
        *compose(PromptForm.HISTORY, SITUATION, LARGE, words),
    )


def test_a_whole_proof_from_its_start_and_once_begun() -> None:
    assert compose(PromptForm.WHOLE, replace(SITUATION, history=()), LARGE, words) == (
        *(Mark.THEOREM, SITUATION.statement, Mark.PROOF),
    )
    assert compose(PromptForm.WHOLE, SITUATION, LARGE, words) == (
        *(Mark.THEOREM, SITUATION.statement),
        *(Mark.PROOF, "intro h", Mark.TACTIC, "apply foo", Mark.TACTIC),
    )


def test_what_is_empty_is_left_out() -> None:
    empty = Situation("", (), (), ("",))
    assert compose(PromptForm.CONTEXT, empty, LARGE, words) == (Mark.GOAL, Mark.GOAL_END, Mark.TACTIC)
    assert compose(PromptForm.WHOLE, empty, LARGE, words) == (Mark.PROOF,)


def test_answers() -> None:
    assert answer("simp") == ("simp", Mark.END)
    assert whole_answer(["intro h", "exact h"]) == ("intro h", Mark.TACTIC, "exact h", Mark.END)
    assert whole_answer(["rfl"]) == answer("rfl")
    assert whole_answer([]) == (Mark.END,)


def test_the_situation_of_a_query() -> None:
    state = TacticState((Goal((), "p", "⊢ p", "", "", ()), Goal((), "q", "⊢ q", "", "", ())), ())
    query = Query(state, HISTORY, "theorem foo : p ∧ q := by sorry")
    assert situation_of(query, ["near : p"]) == Situation(
        "theorem foo : p ∧ q", HISTORY, ("⊢ p", "⊢ q"), ("near : p",)
    )


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("theorem foo : p := by sorry", "foo"),
        ("protected lemma Nat.foo.bar' (a : Nat) : p", "Nat.foo.bar'"),
        ("@[simp] theorem «a name».x : p", "«a name».x"),
        ("example : p", ""),
        ("a : Nat\n⊢ p", ""),
    ],
)
def test_the_name_in_a_statement(statement: str, name: str) -> None:
    assert name_of(statement) == name


@given(forms, situations)
def test_a_text_never_becomes_a_mark(form: PromptForm, situation: Situation) -> None:
    """However many marks are written in the texts, the marks are those of the same situation without any."""
    found = compose(form, situation, LARGE, words)
    plain = Situation(
        "x" * bool(situation.statement),
        tuple(Step(("x" * bool("\n\n".join(s.goals)),), "x" * bool(s.tactic)) for s in situation.history),
        ("x" * bool("\n\n".join(situation.goals)),),
        tuple("x" * bool(text) for text in situation.context),
    )
    expected = compose(form, plain, LARGE, words)
    assert [piece if type(piece) is Mark else "x" for piece in found] == [*expected]


@given(
    st.sampled_from([PromptForm.HISTORY, PromptForm.CONTEXT]), situations, st.text("ab", min_size=1), goals
)
def test_a_childs_prompt_starts_with_its_parents_and_the_tactic(
    form: PromptForm, parent: Situation, tactic: str, after: tuple[str, ...]
) -> None:
    child = replace(parent, history=(*parent.history, Step(parent.goals, tactic)), goals=after)
    begun = (*compose(form, parent, LARGE, words), *answer(tactic))
    assert compose(form, child, LARGE, words)[: len(begun)] == begun


@given(situations, st.lists(st.text("ab", min_size=1), min_size=1, max_size=5), st.data())
def test_a_whole_proof_goes_on_from_any_of_its_tactics(
    root: Situation, tactics: list[str], data: st.DataObject
) -> None:
    """Prompt and answer are the same text wherever between two tactics the prompt ends."""
    root = replace(root, history=())
    done = data.draw(st.integers(0, len(tactics) - 1))
    begun = replace(root, history=tuple(Step((), tactic) for tactic in tactics[:done]))
    asked = compose(PromptForm.WHOLE, begun, LARGE, words)
    from_start = compose(PromptForm.WHOLE, root, LARGE, words)
    assert (*asked, *whole_answer(tactics[done:])) == (*from_start, *whole_answer(tactics))


# --- what is cut ----------------------------------------------------------------------------------


@given(forms, situations, st.integers(0, 80), st.sampled_from([words, len]))
def test_it_fits(form: PromptForm, situation: Situation, more: int, count: Callable[[str], int]) -> None:
    budget = minimum(form) + more
    pieces = compose(form, situation, budget, count)
    assert sum(1 if isinstance(piece, Mark) else count(piece) for piece in pieces) <= budget


@pytest.mark.parametrize(
    ("form", "marks"), [*((form, 3) for form in list(PromptForm)[:3]), (PromptForm.WHOLE, 1)]
)
def test_less_than_its_marks_is_refused(form: PromptForm, marks: int) -> None:
    assert minimum(form) == marks
    with pytest.raises(ValueError, match=f"takes {marks} tokens or more, not {marks - 1}"):
        compose(form, SITUATION, marks - 1, words)


@given(forms, situations)
def test_what_fits_is_not_cut(form: PromptForm, situation: Situation) -> None:
    everything = compose(form, situation, LARGE, words)
    assert compose(form, situation, max(minimum(form), size(everything)), words) == everything


def ranks(situation: Situation) -> list[int]:
    """How much is left of each thing, what is cut first being first."""
    return [
        len(situation.history),
        len(situation.context),
        words(situation.statement),
        len(situation.goals),
        len(situation.goals[0].partition("⊢")[0]) if situation.goals else 0,
        len(situation.goals[0].partition("⊢")[2]) if situation.goals else 0,
    ]


def test_the_order_of_cutting() -> None:
    """With a token less each time, one thing after the other gets shorter, and none before its turn."""
    shortest = [0, 0, 0, 1, 0, 0]
    full = ranks(SITUATION)
    most = size(compose(PromptForm.CONTEXT, SITUATION, LARGE, words))
    seen = set()
    for budget in range(minimum(PromptForm.CONTEXT), most + 1):
        left = ranks(read_back(compose(PromptForm.CONTEXT, SITUATION, budget, words)))
        cut = [i for i in range(6) if left[i] < full[i]]
        assert all(left[i] == shortest[i] for i in cut[:-1]) and cut == [*range(len(cut))]
        seen.add(len(cut))
    assert seen == {0, 1, 2, 3, 4, 5, 6}


def read_back(pieces: tuple[Piece, ...]) -> Situation:
    """The situation that a prompt of the form ``context`` tells."""
    tactics = texts_after(Mark.TACTIC, pieces)
    states = [tuple(text.split("\n\n")) for text in texts_after(Mark.GOAL, pieces)]
    return Situation(
        "".join(texts_after(Mark.THEOREM, pieces)),
        tuple(Step(before, tactic) for before, tactic in zip(states, tactics, strict=False)),
        states[-1],
        tuple(reversed(texts_after(Mark.LEMMA, pieces))),
    )


def test_of_each_thing_the_nearest_and_the_first_words_stay() -> None:
    found = [read_back(compose(PromptForm.CONTEXT, SITUATION, budget, words)) for budget in range(4, 80)]
    assert all(one.history == HISTORY[len(HISTORY) - len(one.history) :] for one in found)
    assert all(one.context == SITUATION.context[: len(one.context)] for one in found)
    assert all(SITUATION.statement.startswith(one.statement) for one in found)
    assert {len(one.history) for one in found} == {len(one.context) for one in found} == {0, 1, 2}


@pytest.mark.parametrize(
    ("tokens", "goal"),
    [
        (19, f"{MAIN}\n\n⊢ r"),
        (18, MAIN),
        (17, MAIN),
        (16, "h : p a ∧\n    p b\n⊢ q a b ∧\n    r"),
        (12, "⊢ q a b ∧\n    r"),
        (5, "⊢ q a b ∧"),
        (1, "⊢"),
        (0, ""),
    ],
)
def test_the_target_stays_longest(tokens: int, goal: str) -> None:
    [found] = texts_after(Mark.GOAL, compose(PromptForm.GOAL, SITUATION, 3 + tokens, words))
    assert found == goal


@given(st.integers(1, 60), st.lists(st.text("ab ", min_size=1).map("h : {}".format), max_size=5))
def test_the_target_is_whole_where_it_can_be(tokens: int, hypotheses: list[str]) -> None:
    goal = "\n".join([*hypotheses, "⊢ x y z"])
    [found] = texts_after(
        Mark.GOAL, compose(PromptForm.GOAL, Situation("", (), (goal, "⊢ p")), 7 + tokens, words)
    )
    assert "⊢ x y z" in found


@given(situations, st.integers(4, 60))
def test_a_text_is_counted_once_but_for_the_tries_at_cutting(situation: Situation, budget: int) -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return words(text)

    compose(PromptForm.CONTEXT, situation, budget, count)
    assert len(asked) == len(set(asked))
    assert len(asked) <= 2 + 2 * len(situation.history) + len(situation.context) + 2 * 8


def test_a_long_history_is_cut_with_few_questions() -> None:
    steps = tuple(Step((f"⊢ p {i}",), f"exact h{i}") for i in range(2000))
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return words(text)

    pieces = compose(PromptForm.HISTORY, replace(SITUATION, history=steps), 1000, count)
    assert size(pieces) <= 1000 and len(asked) <= 4002
