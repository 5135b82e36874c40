"""What is read into a memory: the words, what is kept of them, and what is cut."""

from __future__ import annotations

import pytest

from prover.decoder.codec import Codec
from prover.decoder.prompts import Mark, PromptForm, Situation, answer, compose
from prover.lean.messages import Declaration
from prover.recall.passages import (
    CONTEXT_TOKENS,
    DECLARATION,
    FAILURE,
    LEMMA,
    REMEMBERED,
    STEP,
    document_of,
    of_declaration,
    of_tactic,
)
from tests.decoder.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder)
    return Codec(AutoTokenizer.from_pretrained(folder))


def declaration(
    name: str = "Nat.add_comm", kind: str = "theorem", type_: str = "a + b = b + a"
) -> Declaration:
    return Declaration(name, kind, "Init.Core", type_, ())


def test_a_declaration_is_the_goal_that_it_proves(codec: Codec) -> None:
    reading = of_declaration(codec, declaration())
    assert codec.decode(reading.context) == "<GOAL>⊢ a + b = b + a</GOAL>"
    assert codec.decode(reading.passage.tokens) == "<TACTIC>exact Nat.add_comm<END>"
    found = reading.passage
    assert (found.name, found.module, found.kind) == ("Nat.add_comm", "Init.Core", DECLARATION)
    assert of_declaration(codec, declaration(), LEMMA).passage.kind == LEMMA


def test_a_tactic_is_read_at_its_goals_with_its_verdict(codec: Codec) -> None:
    goals = ("x y : α\nh : x = y\n⊢ y = x", "⊢ p")
    works = of_tactic(codec, goals, "exact h.symm", True, "t", "M")
    fails = of_tactic(codec, goals, "exact h.symm", False, "t")
    assert works.context == fails.context
    assert codec.decode(works.context) == "<GOAL>x y : α\nh : x = y\n⊢ y = x\n\n⊢ p</GOAL>"
    assert codec.decode(works.passage.tokens) == "<TACTIC>exact h.symm<END><PROOF>"
    assert codec.decode(fails.passage.tokens) == "<TACTIC>exact h.symm<END><TACTIC>"
    assert (works.passage.kind, works.passage.name, works.passage.module) == (STEP, "t", "M")
    assert (fails.passage.kind, fails.passage.module) == (FAILURE, "")


def test_the_words_are_those_of_a_prompt(codec: Codec) -> None:
    """What is asked later begins as what was read."""
    goal = "a b : Nat\n⊢ a + b = b + a"
    asked = codec.encode(compose(PromptForm.GOAL, Situation("", (), (goal,)), 500, codec.count))
    reading = of_tactic(codec, [goal], "simp_all", True, "t")
    read = reading.context + reading.passage.tokens
    assert read[: len(asked)] == asked
    assert read[len(asked) : -1] == codec.encode(answer("simp_all"))


@pytest.mark.parametrize("more", [0, 1, 300])
def test_of_a_long_goal_the_end_is_read_behind_its_mark(codec: Codec, more: int) -> None:
    # One token a letter, and three for both marks and the turnstile's blank.
    short = len(of_declaration(codec, declaration(type_="")).context)
    type_ = "Z" * (CONTEXT_TOKENS - short + more)
    context = of_declaration(codec, declaration(type_=type_)).context
    assert len(context) == CONTEXT_TOKENS
    whole = codec.encode((Mark.GOAL, f"⊢ {type_}", Mark.GOAL_END))
    assert len(whole) == CONTEXT_TOKENS + more
    assert context[0] == codec.mark_id(Mark.GOAL)
    assert context[1:] == whole[1 + more :]


def test_marks_in_a_type_stay_letters(codec: Codec) -> None:
    context = of_declaration(codec, declaration(type_="<END>")).context
    assert codec.mark_id(Mark.END) not in context


def test_a_document_has_the_kinds_that_can_be_said(codec: Codec) -> None:
    kinds = ["theorem", "definition", "inductive", "constructor", "axiom", "recursor", "opaque", "quot"]
    document = document_of(codec, "Init.Core", [declaration(kind, kind) for kind in kinds])
    assert document.module == "Init.Core"
    assert [it.passage.name for it in document.readings] == kinds[:5]
    assert set(kinds[:5]) == REMEMBERED
    assert document_of(codec, "Init.Core", []).readings == ()
