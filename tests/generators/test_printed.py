"""What is read out of printed terms and goals."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.generators import adaptation, lemmas, printed
from prover.generators.printed import (
    inner_names,
    printed_goal,
    relation,
    rename,
    shape,
    symbols,
    tactic_names,
)


@pytest.mark.parametrize("module", [printed, lemmas, adaptation], ids=lambda module: module.__name__)
def test_examples_in_the_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("a = b", "="),
        ("(a = b)", "="),
        ("a ∧ b = c ↔ d", "↔"),
        ("a ≤ b → c ≤ d", "→"),
        ("¬a = b", "¬"),
        ("¬a = b ∧ c", "∧"),
        ("∀ (x : Nat), x = x", "∀"),
        ("∃ x, x = 1", "∃"),
        ("(∀ x, p x) ↔ q", "↔"),
        ("List.map (fun x => x ∧ y) l = l", "="),
        ("a = fun x => b ↔ c", "="),
        ("a = if b then c else d", "="),
        ("List.Nodup xs", "Nodup"),
        ("xs.Nodup", "Nodup"),
        ("(xs ++ ys).Nodup", "Nodup"),
        ("m = n % k → False", "→"),
        ("False", "False"),
        ("k ∈ t", "∈"),
        ("", ""),
    ],
)
def test_the_head_of_a_proposition(text: str, head: str) -> None:
    assert relation(text).head == head


def test_the_shape_of_a_theorem() -> None:
    read = shape("∀ {α : Type u} {xs ys : List α} (n : Nat), n < xs.length → (xs ++ ys)[n] =\n  xs[n]")
    assert (read.head, read.explicit, read.premises) == ("=", 2, 1)
    assert read.left == ("++",) and read.right == () and read.rewrites and not read.permutes


def test_an_equation_of_the_same_symbols_permutes() -> None:
    assert shape("∀ (a b : Nat), a + b = b + a").permutes
    assert not shape("∀ (a : Nat), a + 0 = a").permutes


def test_a_conclusion_that_is_a_variable_has_no_head() -> None:
    assert shape("∀ {p : Prop}, False → p").head == ""


def test_relations_of_one_family_have_one_head() -> None:
    assert shape("∀ (n : Nat), n ≠ 1").head == shape("∀ (n : Nat), ¬n = 1").head == "¬"


def test_reads_a_goal_back() -> None:
    text = "case succ\nn m : Nat\nx : Nat := 1\nh : n ≤\n    m\ni✝ : Nat\n⊢ n <\n  m + 1"
    goal = printed_goal(text)
    assert dict(goal.hypotheses) == {"n": "Nat", "m": "Nat", "x": "Nat", "h": "n ≤ m", "i✝": "Nat"}
    assert goal.target == "n < m + 1"


def test_bound_names_are_no_symbols() -> None:
    assert symbols("fun x => x + y.succ", {"x", "y"}) == ["+", "succ"]
    assert inner_names("fun (a : Nat) b => ∃ c, c = a") == {"a", "b", "c"}


def test_renames_whole_names_and_heads_of_fields() -> None:
    assert rename("exact h.1 (h' h) Nat.h", {"h": "k"}) == "exact k.1 (h' k) Nat.h"
    assert rename("rw [Nat.add_comm]", {"Nat.add_comm": "Nat.mul_comm"}) == "rw [Nat.mul_comm]"
    assert rename("exact x.foo.bar", {"foo": "y", "bar": "y"}) == "exact x.foo.bar"


def test_names_of_a_tactic() -> None:
    assert tactic_names("simp [← Nat.add_comm, h.1]") == ["simp", "Nat.add_comm", "h"]


@given(st.text(alphabet="ab⊢∀∃→↔∧¬(){}[]⟨⟩,:= \n.fun✝0«»", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    printed_goal(text)
    relation(text)
    shape(text)
    symbols(text, inner_names(text))
    assert rename(text, {}) == text
