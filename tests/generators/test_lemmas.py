"""Finding the lemmas near a goal, and the tactics that are made of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.environment import ANY_SCOPE, Scope
from prover.generators.base import well_formed
from prover.generators.lemma_tactics import Near, propose
from prover.generators.lemmas import LemmaIndex, name_words, spoken
from prover.lean.messages import Declaration, Goal
from tests.generators.samples import CORPUS, LENGTH, LIST, NAT, THEOREMS, goal, theorem


@pytest.fixture(scope="module")
def index() -> LemmaIndex:
    return LemmaIndex(CORPUS.premises)


def found(index: LemmaIndex, at: Goal, scope: Scope = ANY_SCOPE) -> list[str]:
    return [lemma.name for lemma in index.near(at, scope, 10)]


def tactics(index: LemmaIndex, at: Goal) -> dict[str, float]:
    return dict(propose(Near(at, index.near(at, ANY_SCOPE, 10), index.unfoldable(at))))


def test_only_theorems_are_lemmas(index: LemmaIndex) -> None:
    assert len(index) == len(THEOREMS)


def test_the_lemma_that_says_the_same_comes_first(index: LemmaIndex) -> None:
    assert set(found(index, LENGTH)[:2]) == {"List.length_map", "List.length_map_late"}


def test_what_is_not_imported_is_masked(index: LemmaIndex) -> None:
    visible = found(index, LENGTH, Scope(CORPUS.accessible("C")))
    assert "List.length_map" in visible and "List.length_map_late" not in visible
    assert found(index, LENGTH, Scope(frozenset())) == []


MODULES = st.frozensets(st.sampled_from(["A", "B", "C", "D"]))


@settings(deadline=None)
@given(MODULES, st.sampled_from([LENGTH, goal("n + 0 = n", ("n", "Nat"), constants=NAT)]))
def test_masks_are_respected(modules: frozenset[str], at: Goal) -> None:
    index = LemmaIndex(CORPUS.premises)
    home = {premise.name: premise.module for premise in CORPUS.premises}
    masked = found(index, at, Scope(modules))
    assert {home[name] for name in masked} <= modules
    assert masked == [name for name in found(index, at) if home[name] in modules]


def test_declarations_of_the_source_itself_are_found(index: LemmaIndex) -> None:
    own = theorem("mine", "", "∀ (f : α → β), (List.map f as).length = as.length", *LIST)
    assert "mine" in found(index, LENGTH, Scope(frozenset(), (own,)))


def test_an_empty_library_has_no_lemmas() -> None:
    assert found(LemmaIndex(()), LENGTH) == []


def test_fewer_are_returned_when_asked(index: LemmaIndex) -> None:
    assert len(index.near(LENGTH, ANY_SCOPE, 1)) == 1


def test_words_of_names() -> None:
    assert list(name_words("Nat.add_comm'")) == ["add", "comm"]
    assert (spoken("HAdd.hAdd"), spoken("List.map")) == ("add", "map")


def test_definitions_of_the_goal_can_be_unfolded(index: LemmaIndex) -> None:
    at = goal("List.double xs = xs", ("xs", "List Nat"), constants=("Eq", "List", "List.double"))
    assert LemmaIndex([*CORPUS.premises] * 20).unfoldable(at) == ["List.double"]


def test_what_stands_for_a_definition_is_found_by_its_name() -> None:
    size_eq = theorem("Map.size_eq", "B", "∀ {m : Map}, m.size = m.toList.length", "Map.size", "List.length")
    size = Declaration("Map.size", "definition", "B", "Map → Nat", ())
    index = LemmaIndex([*CORPUS.premises * 20, size_eq, size])
    at = goal("m.size = 0", ("m", "Map"), ("hm", "m.WF"), constants=("Map.size",))
    assert [lemma.name for lemma in index.equations(at, ANY_SCOPE)] == ["Map.size_eq"]
    assert index.equations(at, Scope(frozenset({"A"}))) == []
    assert "rw [Map.size_eq]" in dict(propose(Near(at, (), (), index.equations(at, ANY_SCOPE))))


# --- tactics ----------------------------------------------------------------------------------------


def test_a_lemma_with_the_head_of_the_goal_is_applied(index: LemmaIndex) -> None:
    assert "apply List.length_map" in tactics(index, LENGTH)
    at = goal("a ≤ c", ("a", "Nat"), ("c", "Nat"), ("h", "a ≤ b"), constants=("LE.le", "Nat"), head="LE.le")
    tried = tactics(index, at)
    assert "apply Nat.le_trans <;> try assumption" in tried
    assert not any("Nat.add_comm" in tactic for tactic in tried)


def test_a_lemma_with_another_head_is_neither_applied_nor_rewritten_with(index: LemmaIndex) -> None:
    at = goal("n < n + 1", ("n", "Nat"), constants=("LT.lt", "HAdd.hAdd", "Nat"), head="LT.lt")
    assert "apply Nat.add_comm" not in tactics(index, at)
    assert "rw [List.length_map]" not in tactics(index, at)


def test_rewrites_with_what_occurs(index: LemmaIndex) -> None:
    tried = tactics(index, LENGTH)
    assert "rw [List.length_map]" in tried and "simp [List.length_map]" in tried
    assert "rw [List.map_id]" not in tried


def test_a_permuting_rule_is_not_given_to_simp(index: LemmaIndex) -> None:
    tried = tactics(index, goal("n + m = m + n", ("n", "Nat"), ("m", "Nat"), constants=NAT))
    assert "rw [Nat.add_comm]" in tried
    assert not any(tactic.startswith("simp") and "Nat.add_comm" in tactic for tactic in tried)


def test_a_binder_in_front_asks_for_the_whole_lemma(index: LemmaIndex) -> None:
    at = goal("∀ (n : Nat), n + 0 = n", constants=NAT, head="∀")
    assert "exact Nat.add_zero" in tactics(index, at)


def test_introduces_many_binders_at_once(index: LemmaIndex) -> None:
    at = goal("∀ {a : Type} [BEq a] (b c d e f : a), b = c → c = b", constants=("Eq",), head="∀")
    assert "intro a _ b c d e f h1" in tactics(index, at)


def test_an_equation_is_reduced_to_its_parts(index: LemmaIndex) -> None:
    at = goal("a = b", ("a", "Word8"), ("b", "Word8"), constants=("Eq", "Word8"))
    assert {"apply Word8.toNat_inj.mp", "simp [← Word8.toNat_inj]"} <= tactics(index, at).keys()


def test_premises_are_looked_for_inside_wrappers(index: LemmaIndex) -> None:
    wrapped = ("Map", "Map.WF", "Map.erase", "Map.size")
    at = goal("m.erase.size = m.size", ("m", "Map"), ("hm", "m.WF"), constants=wrapped)
    assert "apply Map.Raw.size_erase <;> try (first | assumption | exact hm.1)" in tactics(index, at)


TARGETS = st.sampled_from(["(List.map f xs).length = 0", "n + 0 = n", "a = b", "∀ x, x ≤ 1", "¬p", "(", ""])


@settings(deadline=None)
@given(TARGETS, st.sampled_from(["=", "∀", ""]), st.sampled_from([NAT, LIST, ("Word8",), ()]))
def test_every_proposal_is_well_formed(target: str, head: str, constants: tuple[str, ...]) -> None:
    at = goal(target, ("xs", "List Nat"), ("h", "m.WF"), ("h✝", "¬p"), constants=constants, head=head)
    for tactic, weight in tactics(LemmaIndex(CORPUS.premises), at).items():
        assert well_formed(tactic) is None and weight >= 0.0
