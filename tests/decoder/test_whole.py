"""Whole proofs, split into the tactics that a search runs one by one."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder import whole
from prover.decoder.prompts import Mark, whole_answer
from prover.decoder.whole import code_of, own_tactics_of, tactics_of

CASES = {
    "one tactic": ("simp", ["simp"]),
    "nothing": ("", []),
    "only talk": ("-- nothing here\n/- nor here -/", []),
    "an empty block": ("```lean\n```", []),
    "tactics at the margin": ("intro x\nexact x", ["intro x", "exact x"]),
    "indented evenly": ("  intro x\n  exact x\n", ["intro x", "exact x"]),
    "after by": (":= by\n  intro x\n  exact x", ["intro x", "exact x"]),
    "on the line of by": ("by intro x\n  exact x", ["intro x", "exact x"]),
    "with a theorem": (
        "theorem foo (a b : Nat)\n    (h : a = b) : b = a := by\n  rw [h]\n",
        ["rw [h]"],
    ),
    "a by in a binder": ("theorem foo (h : p := by simp) : q := by\n  ring", ["ring"]),
    "a let in the statement": ("theorem foo : let y := 3; y = 3 := by\n  intro y\n  rfl", ["intro y", "rfl"]),
    "a term": ("theorem foo : p → p := fun h => h", ["exact fun h => h"]),
    "the last of several": ("lemma a : p := by\n  simp\n\ntheorem b : q := by\n  ring", ["ring"]),
    "commands around it": (
        "import Mathlib\nopen Nat\n\nprivate theorem foo : p := by\n  simp\n\nend Foo\n#print axioms foo",
        ["simp"],
    ),
    "the last code block": ("A sketch:\n```lean4\nsorry\n```\nand now\n```lean4\nsimp\n```\nDone.", ["simp"]),
    "a code block that is open": ("Here:\n```lean\nsimp\nring", ["simp", "ring"]),
    "a code block opened before": ("simp\n```\nThis works since ...", ["simp"]),
    "comments": (
        "-- first\nintro x -- second\n/- third\n  -- fourth /- nested -/ -/\nexact x",
        ["intro x", "exact x"],
    ),
    "no comment in a string": ('exact f "-- a /- b"', ['exact f "-- a /- b"']),
    "deeper lines": ("nlinarith [sq_nonneg a,\n  sq_nonneg b]", ["nlinarith [sq_nonneg a,\n  sq_nonneg b]"]),
    "a bracket that is open": ("simp [a,\nb]\nring", ["simp [a,\n  b]", "ring"]),
    "a line that goes on": ("constructor <;>\nsimp\nring", ["constructor <;>\n  simp", "ring"]),
    "a line that cannot start": ("simp [a]\nat h\nring", ["simp [a]\n  at h", "ring"]),
    "bullets": (
        "constructor\n· intro x\n  simp\n·\n  ring\nrfl",
        ["constructor", "intro x", "simp", "ring", "rfl"],
    ),
    "bullets in bullets": (
        "  constructor\n  · constructor\n    · simp\n    · ring\n  · rfl",
        ["constructor", "constructor", "simp", "ring", "rfl"],
    ),
    "bullets of old": ("constructor\n. simp\n. exact .inl h", ["constructor", "simp", "exact .inl h"]),
    "a block after by": (
        "· have h : a = b := by\n    simp\n    ring\n  exact h",
        ["have h : a = b := by\n  simp\n  ring", "exact h"],
    ),
    "cases": (
        "cases h\ncase inl h => simp; ring\ncase inr h =>\n  simp\n  ring",
        ["cases h", "case inl h => simp; ring", "case inr h =>\n  simp\n  ring"],
    ),
    "alternatives": (
        "  induction n with\n  | zero => simp\n  | succ n ih =>\n    simp\n  done",
        ["induction n with\n| zero => simp\n| succ n ih =>\n  simp", "done"],
    ),
    "calc": (
        "calc a = b := by simp\n    _ = c := by\n      ring\nrfl",
        ["calc a = b := by simp\n    _ = c := by\n      ring", "rfl"],
    ),
    "calc at the margin": ("calc a = b := h\n_ = c := k", ["calc a = b := h\n_ = c := k"]),
    "calc on lines of its own": ("calc\n  a = b := h\n  _ = c := k", ["calc\n  a = b := h\n  _ = c := k"]),
    "if": ("if h : p then\n  simp\nelse\n  ring", ["if h : p then\n  simp\n  else\n  ring"]),
    "semicolons": ("intro x; simp [f; g] <;> ring; rfl", ["intro x", "simp [f; g] <;> ring", "rfl"]),
    "semicolons in a block": (
        "have h : p := by simp; ring\ntry simp; ring",
        ["have h : p := by simp; ring", "try simp; ring"],
    ),
    "tabs": ("by\n\tintro x\n\texact x", ["intro x", "exact x"]),
}


def test_examples_in_the_docstrings() -> None:
    result = doctest.testmod(whole)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", CASES)
def test_splits(name: str) -> None:
    text, tactics = CASES[name]
    assert list(tactics_of(text)) == tactics


tactic_lists = st.lists(
    st.sampled_from(
        ["simp", "intro x", "have h : p := by\n  simp\n  ring", "exact ⟨a,\n  b⟩", "rw [h] at k"]
    ),
    min_size=1,
    max_size=6,
)


@given(tactic_lists, st.sampled_from(["", "  ", "    "]), st.booleans(), st.booleans())
def test_finds_the_tactics_however_they_are_laid_out(
    tactics: list[str], indent: str, theorem: bool, fenced: bool
) -> None:
    lines = [indent + line for tactic in tactics for line in tactic.split("\n")]
    text = "\n".join(["theorem foo : p := by", *(f"  {line}" for line in lines)] if theorem else lines)
    assert tactics_of(f"So:\n```lean4\n{text}\n```\n" if fenced else text) == tuple(tactics)


@given(tactic_lists)
def test_bullets_change_nothing(tactics: list[str]) -> None:
    nested = [
        "  " * depth + ("· " if i == 0 else "  ") + line
        for depth, tactic in enumerate(tactics)
        for i, line in enumerate(tactic.split("\n"))
    ]
    assert tactics_of("\n".join(nested)) == tuple(tactics)


@given(st.text(alphabet='ab by\n·.|;:=`-/"([⟨])⟩<>\t#@', max_size=60))
def test_any_text_can_be_split(text: str) -> None:
    for tactic in tactics_of(text):
        assert tactic == tactic.strip() != ""


@given(st.lists(st.text("ab \n", min_size=1).map(str.strip).filter(bool), max_size=5))
def test_our_own_answers_come_back(tactics: list[str]) -> None:
    decoded = "".join(piece for piece in whole_answer(tactics) if piece is not Mark.END)
    assert own_tactics_of(decoded) == tuple(tactics)


def test_our_own_answers_with_another_separator() -> None:
    assert own_tactics_of(" simp ||  || ring", "||") == ("simp", "ring")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("simp", "simp"),
        ("```simp```", "simp"),
        ("```lean4 simp```", " simp"),
        ("Try `simp`:\n```\nsimp\n```", "\nsimp\n"),
        ("```tactics\nsimp\n```", "\nsimp\n"),
    ],
)
def test_code_blocks(text: str, code: str) -> None:
    assert code_of(text) == code
