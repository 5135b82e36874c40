"""Declarations near a printed goal."""

from __future__ import annotations

from prover.decoder.context import ContextIndex
from tests.generators.samples import CORPUS, theorem

INDEX = ContextIndex(CORPUS.premises)
LENGTH = "α β : Type\nxs : List α\nf : α → β\n⊢ (List.map f xs).length = xs.length"


def names(lines: list[str]) -> list[str]:
    return [line.partition(" : ")[0] for line in lines]


def test_the_obvious_lemma_comes_first_with_its_type() -> None:
    first = INDEX.near(LENGTH, None, 3)[0]
    assert first == "List.length_map : ∀ {as : List α} (f : α → β), (List.map f as).length = as.length"


def test_operators_are_read() -> None:
    assert names(INDEX.near("a b : Nat\n⊢ a + b = b + a", None, 2))[0] in ("Nat.add_comm", "Nat.add_zero")
    assert names(INDEX.near("a b : Nat\nh : b ≥ a\n⊢ a ≤ b", None, 1)) == ["Nat.le_trans"]


def test_a_field_is_read_by_the_type_of_its_variable() -> None:
    found = names(INDEX.near("x y : Word8\n⊢ x.toNat = y.toNat", None, 2))
    assert set(found) == {"Word8.toNat_inj", "Word8.toNat_inj'"}


def test_only_visible_modules_and_what_is_the_proofs_own_are_shown() -> None:
    found = names(INDEX.near(LENGTH, frozenset("A"), 9))
    assert found and all(name.startswith("Nat.") for name in found)
    own = theorem("mine", "", "∀ (xs : List α), (List.map f xs).length = 3", "Eq", "List.map", "List.length")
    found = INDEX.near(LENGTH, frozenset("A"), 9, (own,))
    assert found[0] == f"mine : {own.type}"
    assert len(INDEX.near(LENGTH, None, 2)) == 2


def test_what_is_no_goal_finds_nothing_and_breaks_nothing() -> None:
    for text in ("", "⊢ ", "⊢ ∀", "case h\n⊢ qqq zzz", "(((\n⊢ ]["):
        assert isinstance(INDEX.near(text, None, 5), list)
