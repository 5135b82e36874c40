"""Which candidates are refused before Lean sees them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.generators.base import COMMANDS, FORBIDDEN, Candidate, admissible, well_formed

HONEST = [
    "simp",
    "exact mysorry",
    "exact sorry_free h",
    "exact sorry'",
    'exact f "sorry"',
    "exact h?",
    "decide +kernel",
    "exact x[i]'(by omega)",
    "exact '('",
    r"exact '\''",
    r'exact "a \" ( b"',
    'exact r#"a"b("#',
    "exact #[1, 2]",
    "exact @foo _ rfl",
    "simp /- a /- nested -/ comment -/ [h]",
    "exact «a (name»",
    "exact l.prefix",
    "exact (f x).end",
    "exact h.1.le",
    "induction n with\n| zero => simp\n| succ n ih => simp [ih]",
    "calc a = b := h\n  _ = c := k",
    "calc a = b := h\n_ = c := k",
    "simp [h₁,\n  h₂]",
    "exact fun ⟨x, hx⟩ => ‹p›",
    "set_option maxRecDepth 1000 in decide",
    "open Nat in simp",
    "simp -- why\n  [h]",
]

HOSTILE = [
    ("", "no tactic"),
    (" \n ", "no tactic"),
    ("/- only talk -/", "no tactic"),
    ("sorry", "sorry"),
    ("exact (sorry)", "sorry"),
    ("simp [show False from sorry]", "sorry"),
    ("exact λ_=>sorry", "sorry"),
    ("exact λsorry", "sorry"),
    ('exact f s!"{sorry}"', "sorry"),
    ("exact _root_.sorryAx _", "sorryAx"),
    ("exact Lean.ofReduceBool _ _ rfl", "ofReduceBool"),
    ("admit", "admit"),
    ("native_decide", "native_decide"),
    ("decide +native", "native"),
    ("decide + native", "native"),
    ("decide (config := {native := true})", "native"),
    ("first | exact? | simp", "exact?"),
    ("apply?", "apply?"),
    ("stop simp", "stop"),
    ("run_tac pure ()", "run_tac"),
    ("exact (h", "missing"),
    ("exact h)", "closes nothing"),
    ("exact (h]", "closes nothing"),
    ("exact ⟨a, b", "missing"),
    ("simp /- open", "comment"),
    ("simp /- /- -/", "comment"),
    ("simp -/", "comment"),
    ("simp -- the rest is gone", "comment"),
    ('exact "open', "string"),
    ("simp\ntheorem evil : False := x", "theorem"),
    ("simp\n  theorem evil : False := x", "theorem"),
    ("simp theorem evil : False := x", "theorem"),
    ("rfl\naxiom a : False", "axiom"),
    ("rfl\nend Foo", "end"),
    ("rfl\n#eval 1", "#eval"),
    ("rfl\n@[simp] foo", "@["),
    ("rfl\n/-- doc -/", "margin"),
    ("rfl\nmy_command x", "margin"),
    ("rfl\nexact h", "margin"),
    ("exact ⟨_,\nset_option x true in h⟩", "margin"),
    ("local instance : Add Nat := ⟨Nat.mul⟩", "starts a command"),
]


@pytest.mark.parametrize("tactic", HONEST)
def test_honest_tactics_pass(tactic: str) -> None:
    assert well_formed(tactic) is None


@pytest.mark.parametrize(("tactic", "reason"), HOSTILE)
def test_hostile_tactics_are_refused(tactic: str, reason: str) -> None:
    assert reason in (well_formed(tactic) or "")


@pytest.mark.parametrize("word", sorted(FORBIDDEN | COMMANDS))
def test_every_listed_word_is_refused_alone_but_not_inside_a_name(word: str) -> None:
    assert well_formed(f"exact ({word})") is not None
    assert well_formed(f"exact my_{word}") is None
    assert well_formed(f"exact h.{word}") is None


@given(st.text(alphabet="ab \n()[]{}⟨⟩\"'-/«».\\#r", max_size=40))
def test_any_text_gets_an_answer_and_wrapping_keeps_it_closed(text: str) -> None:
    """What passes is closed in itself: in brackets of its own it passes too."""
    if well_formed(text) is None:
        assert well_formed(f"({text})") is None


def test_admissible_sorts_and_keeps_the_best_of_equals() -> None:
    candidates = [Candidate("a", -3.0), Candidate("b", -2.0), Candidate("a", -1.0), Candidate("sorry", -0.5)]
    accepted, refused = admissible(candidates)
    assert accepted == [Candidate("a", -1.0), Candidate("b", -2.0)]
    assert [refusal.candidate.tactic for refusal in refused] == ["sorry"]


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf, 0.1])
def test_impossible_log_probabilities_are_refused(logprob: float) -> None:
    accepted, refused = admissible([Candidate("simp", logprob), Candidate("rfl", -1.0)])
    assert accepted == [Candidate("rfl", -1.0)]
    assert "probability" in refused[0].reason
