"""Remembering tactics, and making them fit other goals."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import InputError
from prover.generators.adaptation import adapt, transpose, transposition
from prover.generators.base import Step, well_formed
from prover.generators.experience import Experience, Memory, features
from prover.generators.printed import printed_goal

SUM = "n m : Nat\nh : n ≤ m\n⊢ n + 0 ≤ m"
RENAMED = "a b : Nat\nk : a ≤ b\n⊢ a + 0 ≤ b"
LISTS = "xs : List Nat\n⊢ (List.map f xs).length = xs.length"


def experience(*memories: tuple[str, str, int | None]) -> Experience:
    return Experience([Memory(*memory) for memory in memories])


def test_names_of_hypotheses_are_no_features() -> None:
    assert features(SUM) == features(RENAMED)
    assert features(SUM).keys() != features(LISTS).keys()


def test_target_and_facts_have_features_of_their_own() -> None:
    assert "⊢ +" in features(SUM) and ": +" not in features(SUM) and ": ≤" in features(SUM)


def test_the_most_similar_goal_comes_first() -> None:
    known = experience((LISTS, "simp", None), (SUM, "omega", None))
    nearest = known.nearest(RENAMED, None, 5)
    assert nearest[0].memory.tactic == "omega" and nearest[0].similarity == pytest.approx(1.0)


def test_of_equal_goals_the_newer_comes_first() -> None:
    known = experience((SUM, "omega", 1), (SUM, "grind", 2))
    assert [n.memory.tactic for n in known.nearest(SUM, None, 5)] == ["grind", "omega"]


def test_learns_the_main_goal_of_each_step_once() -> None:
    known = Experience()
    proof = [Step((SUM, LISTS), "omega"), Step((LISTS,), "simp"), Step((), "done")]
    known.learn(proof, 3)
    known.learn(proof, 3)
    assert known.memories == [Memory(SUM, "omega", 3), Memory(LISTS, "simp", 3)]


GOALS = st.sampled_from([SUM, RENAMED, LISTS, "⊢ True", "x : Nat\n⊢ x = x"])
POSITIONS = st.one_of(st.none(), st.integers(0, 5))


@given(st.lists(st.tuples(GOALS, st.sampled_from(["simp", "omega"]), POSITIONS)), GOALS, st.integers(0, 5))
def test_nothing_leaks_back_from_a_later_place(
    memories: list[tuple[str, str, int | None]], goal: str, before: int
) -> None:
    known = experience(*memories)
    assert all(
        n.memory.position is None or n.memory.position < before for n in known.nearest(goal, before, 100)
    )
    everything = {n.memory for n in known.nearest(goal, None, 100) if n.similarity > 0}
    allowed = {memory for memory in everything if memory.position is None or memory.position < before}
    assert allowed == {n.memory for n in known.nearest(goal, before, 100)}


@given(st.lists(st.tuples(GOALS, st.text(max_size=20), POSITIONS)), GOALS)
def test_similarity_is_between_0_and_1(memories: list[tuple[str, str, int | None]], goal: str) -> None:
    for neighbour in experience(*memories).nearest(goal, None, 100):
        assert 0.0 <= neighbour.similarity <= 1.0 + 1e-9


# --- on disk ---------------------------------------------------------------------------------------


def test_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    known = experience((SUM, "rw [h]\n", 3), (LISTS, "simp", None))
    known.save(tmp_path / "experience.jsonl")
    again = Experience.load(tmp_path / "experience.jsonl")
    assert again.memories == known.memories and again.content_hash == known.content_hash
    assert again.nearest(SUM, None, 2) == known.nearest(SUM, None, 2)


def test_the_hash_is_of_what_is_remembered() -> None:
    one = experience((SUM, "simp", 1))
    assert Experience().content_hash == ""
    assert len(one.content_hash) == 16
    assert one.content_hash == experience((SUM, "simp", 1)).content_hash
    assert one.content_hash != experience((SUM, "simp", 2)).content_hash


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n", '{"format": "experience 1"}\n{"goal": "x"}\n'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="no experience"):
        Experience.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no experience"):
        Experience.load(tmp_path / "missing.jsonl")


# --- adaptation ------------------------------------------------------------------------------------


def fitted(tactic: str, there: str, here: str) -> str | None:
    return adapt(tactic, printed_goal(there), printed_goal(here))


def test_names_become_those_of_hypotheses_with_like_types() -> None:
    assert fitted("exact h.trans (Nat.le_refl _)", SUM, RENAMED) == "exact k.trans (Nat.le_refl _)"
    assert fitted("induction xs <;> simp", LISTS, "n : Nat\nl : List Nat\n⊢ l = l") == "induction l <;> simp"


def test_two_names_never_become_one() -> None:
    there = "a b : Nat\n⊢ a + b = b + a"
    assert fitted("exact f a b", there, "x y : Nat\n⊢ x = y") == "exact f x y"
    assert fitted("exact f a b", there, "x : Nat\n⊢ x = x") is None


def test_equal_types_keep_equal_names() -> None:
    there = "a b : Nat\n⊢ a = b"
    assert fitted("induction a", there, "a b : Nat\n⊢ b = a") == "induction a"


def test_a_name_without_counterpart_refuses_the_tactic() -> None:
    assert fitted("exact h", SUM, LISTS) is None


def test_names_that_cannot_be_written_are_no_counterparts() -> None:
    assert fitted("exact h", SUM, "n m : Nat\nh✝ : n ≤ m\n⊢ n ≤ m") is None


def test_one_other_namespace_is_followed() -> None:
    there = printed_goal("a : Word8\n⊢ Word8.ofNat a.toNat = a")
    here = printed_goal("b : Word16\n⊢ Word16.ofNat b.toNat = b")
    assert transposition(there, here) == {"Word8": "Word16"}
    assert transpose("Std.Word8.x", {"Word8": "Word16"}) == "Std.Word16.x"
    assert transposition(there, there) == {}


TACTICS = ["exact h", "rw [h] at h", "simp [xs, h.1]", "cases n with | zero => simp | succ n => exact h n"]
NAMES = st.sampled_from(["h", "n", "xs", "h₁", "α", "x✝", "h'", "«a b»"])
TYPES = st.sampled_from(["Nat", "List Nat", "n ≤ m", "Type u", "p → q", "(", "∀ x, x = x"])


@given(
    st.sampled_from(TACTICS), st.lists(st.tuples(NAMES, TYPES), max_size=5), st.lists(st.tuples(NAMES, TYPES))
)
def test_adapted_tactics_are_well_formed(
    tactic: str, there: list[tuple[str, str]], here: list[tuple[str, str]]
) -> None:
    texts = ["\n".join([*(f"{n} : {t}" for n, t in goal), "⊢ True"]) for goal in (there, here)]
    found = fitted(tactic, *texts)
    assert found is None or well_formed(found) is None
