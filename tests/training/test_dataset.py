"""Rows learn answers and nothing else; batches depend on seed and epoch alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.codec import Codec
from prover.decoder.loading import TACTIC_TOKENS
from prover.decoder.prompts import Mark, PromptForm, answer, whole_answer
from prover.generators.base import Step
from prover.training.dataset import (
    IGNORED,
    Batches,
    Mix,
    Row,
    RowMaker,
    bucketed,
    divided,
    held_out,
    padded,
)
from prover.training.declarations import Exercise
from prover.training.examples import Proof
from prover.training.tokenizer import train_tokenizer
from tests.training.toy import EIGHT, HISTORY, proof

CODEC = Codec(
    train_tokenizer([text for p in EIGHT for step in p.steps for text in (*step.goals, step.tactic)], 320)
)
MAKER = RowMaker(CODEC, 512, lambda goal, proof: (f"{proof.module}.lemma : 1 = 1", "b : 2 = 2"))
STEP = PromptForm.GOAL, PromptForm.HISTORY, PromptForm.CONTEXT


def learned(row: Row) -> str:
    return CODEC.decode([i for i, is_learned in zip(row.ids, row.learned, strict=True) if is_learned])


@pytest.mark.parametrize("form", STEP)
def test_answers_and_their_ends_are_learned(form: PromptForm) -> None:
    for each in EIGHT:
        wanted = "".join(f"{tactic}{Mark.END}" for tactic in each.script)
        assert "".join(learned(row) for row in MAKER.rows(each, form)) == wanted


def test_a_proof_told_with_its_history_is_one_row() -> None:
    each = EIGHT[1]
    (row,) = MAKER.rows(each, PromptForm.HISTORY)
    last = MAKER.prompt(each, 1, PromptForm.HISTORY)
    assert row.ids == last + CODEC.encode(answer("exact h1"))
    assert CODEC.decode(row.ids).startswith(f"{Mark.THEOREM}theorem T1")


def test_goals_alone_are_a_row_each() -> None:
    assert len(MAKER.rows(EIGHT[1], PromptForm.GOAL)) == 2


def test_the_context_form_shows_what_was_retrieved_for_the_module() -> None:
    (row,) = MAKER.rows(EIGHT[1], PromptForm.CONTEXT)
    assert CODEC.decode(row.ids).startswith(f"{Mark.LEMMA}b : 2 = 2{Mark.LEMMA}A.lemma : 1 = 1{Mark.THEOREM}")


def test_the_whole_proof_is_learned_with_its_marks() -> None:
    (row,) = MAKER.rows(EIGHT[1], PromptForm.WHOLE)
    assert learned(row) == CODEC.decode(CODEC.encode(whole_answer(EIGHT[1].script)))
    assert f"rw [Nat.add_comm]{Mark.TACTIC}exact h1{Mark.END}" == learned(row)


def test_a_step_that_does_not_count_is_shown_but_not_learned() -> None:
    (row,) = MAKER.rows(EIGHT[1], PromptForm.HISTORY, [False, True])
    assert learned(row) == f"exact h1{Mark.END}"
    (row,) = MAKER.rows(EIGHT[1], PromptForm.HISTORY, [True, False])
    assert CODEC.decode(row.ids).endswith(f"rw [Nat.add_comm]{Mark.END}")
    assert MAKER.rows(EIGHT[1], PromptForm.HISTORY, [False, False]) == []


def test_an_answer_longer_than_a_search_would_draw_is_not_learned() -> None:
    long = proof(1, "exact " + "é" * TACTIC_TOKENS, "rfl")
    (row,) = MAKER.rows(long, PromptForm.HISTORY)
    assert learned(row) == f"rfl{Mark.END}"


def test_a_long_history_is_cut_and_the_goal_stays() -> None:
    long = proof(3, *(f"have h{i} : {i} + {i} = {2 * i} := by omega" for i in range(30)))
    rows = MAKER.rows(long, PromptForm.HISTORY)
    assert len(rows) > 1
    assert "".join(map(learned, rows)) == "".join(f"{tactic}{Mark.END}" for tactic in long.script)
    assert all(len(row.ids) <= 512 for row in rows)
    assert f"{Mark.GOAL}{long.steps[-1].goals[0]}{Mark.GOAL_END}" in CODEC.decode(rows[-1].ids)


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=4))
def test_any_texts_make_rows_within_the_limit(steps: list[tuple[str, str]]) -> None:
    told = tuple(Step((goal,), tactic) for goal, tactic in steps)
    any_proof = Proof("T", "A", "theorem T : x", 0, told, "library", "train")
    for form in PromptForm:
        for row in RowMaker(CODEC, 64, lambda goal, module: ("l : x",)).rows(any_proof, form):
            assert len(row.ids) == len(row.learned) <= 64 + TACTIC_TOKENS
            assert row.learned[-1] and not row.learned[0]


# --- batches ----------------------------------------------------------------------------------------

MIX = Mix({PromptForm.GOAL: 1.0, PromptForm.HISTORY: 1.0, PromptForm.WHOLE: 1.0})


def epoch(number: int, seed: int = 0, mix: Mix = MIX, proofs: Sequence[Proof] = EIGHT) -> list[list[Row]]:
    return list(Batches(MAKER, proofs, mix, 600, seed).epoch(number))


def test_an_epoch_is_the_same_each_time_and_another_one_is_not() -> None:
    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=1)


def test_all_forms_are_drawn() -> None:
    kinds = {row.kind for number in range(5) for batch in epoch(number) for row in batch}
    assert kinds == set(MIX.forms)


def test_every_proof_is_there_once_an_epoch() -> None:
    found = [learned(row) for batch in epoch(0, mix=Mix(HISTORY)) for row in batch]
    assert sorted(found) == sorted("".join(f"{t}{Mark.END}" for t in p.script) for p in EIGHT)


def test_frequent_tactics_are_thinned_out_and_rare_ones_stay() -> None:
    proofs = [*(proof(i, "simp") for i in range(100)), *(proof(i, f"exact h{i}") for i in range(100, 120))]
    found = [
        learned(row)
        for number in range(3)
        for batch in epoch(number, mix=Mix(HISTORY, frequent=4), proofs=proofs)
        for row in batch
    ]
    common = sum(text == f"simp{Mark.END}" for text in found)
    assert 30 <= common <= 95  # of 300; a fifth is 60
    assert len(found) - common == 60


def test_repeated_steps_count_once_an_epoch_on_average() -> None:
    found = [
        row
        for number in range(20)
        for batch in epoch(number, mix=Mix(HISTORY, repeated=1), proofs=[EIGHT[2]] * 10)
        for row in batch
    ]
    assert 8 <= len(found) <= 35  # of 200


def test_exercises_are_mixed_in_by_their_share() -> None:
    lessons = [[Exercise((Mark.LEMMA, "a"), (" : 1 = 1",))], [Exercise((), (Mark.LEMMA, "b : 2 = 2"))]]
    batches = Batches(MAKER, EIGHT, Mix(HISTORY, declarations=0.5), 600, 0, lessons)
    rows = [row for batch in batches.epoch(0) for row in batch]
    assert sum(row.kind == "declarations" for row in rows) == 4


@given(st.lists(st.integers(1, 300), min_size=1, max_size=50))
def test_batches_keep_the_budget_and_lose_nothing(lengths: list[int]) -> None:
    rows = [Row((9,) * n, (True,) * n, "goal") for n in lengths]
    batches = list(bucketed(rows, 400))
    assert sorted(len(row.ids) for batch in batches for row in batch) == sorted(lengths)
    assert all(len(batch) == 1 or len(batch) * max(len(r.ids) for r in batch) <= 400 for batch in batches)
    longest = [max(len(r.ids) for r in batch) for batch in batches]
    assert all(a <= b for a, b in pairwise(longest))


def test_a_batch_is_padded_on_the_right_and_labels_answers_alone() -> None:
    rows = [Row((5, 6, 7), (False, True, True), "goal"), Row((8,), (True,), "goal")]
    batch = padded(rows, 0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]


# --- what is held out -------------------------------------------------------------------------------


def test_modules_are_held_out_whole_and_by_name() -> None:
    modules = [f"Init.M{i}" for i in range(2000)]
    out = {module for module in modules if held_out(module, 0.1, 0)}
    assert 150 < len(out) < 250
    assert out == {module for module in modules if held_out(module, 0.1, 0)}
    assert out <= {module for module in modules if held_out(module, 0.2, 0)}
    assert out != {module for module in modules if held_out(module, 0.1, 1)}
    proofs = [proof(i, "rfl", module=modules[i // 2]) for i in range(4000)]
    kept, measured = divided(proofs, 0.1, 0)
    assert {p.module for p in measured} == out and len(kept) + len(measured) == 4000


def test_no_other_split_is_looked_at() -> None:
    proofs = [proof(0, "rfl", split="valid"), proof(1, "rfl", split="test"), proof(2, "rfl")]
    assert divided(proofs, 0.0, 0) == ([proofs[2]], [])
    assert divided(proofs, 1.0, 0) == ([], [proofs[2]])


def test_prompts_are_learned_too_at_their_share() -> None:
    def shares(prompts: float) -> set[bool]:
        mix = Mix({PromptForm.HISTORY: 1.0}, prompts=prompts)
        return {all(row.learned) for rows in Batches(MAKER, EIGHT, mix, 2000, 0).epoch(0) for row in rows}

    assert (shares(0.0), shares(1.0), shares(0.5)) == ({False}, {True}, {False, True})


def test_synthetic_proofs_are_told_at_their_share() -> None:
    proofs = [replace(p, source="synthetic") for p in EIGHT] * 20 + list(EIGHT)

    def told(share: float) -> int:
        mix = Mix({PromptForm.WHOLE: 1.0}, synthetic=share)
        return sum(len(rows) for rows in Batches(MAKER, proofs, mix, 2000, 0).epoch(0))

    assert (told(0.0), told(1.0)) == (8, 168) and 8 < told(0.5) < 168


def test_an_echo_says_again_what_stands_before_it() -> None:
    chance = random.Random(0)
    for _ in range(50):
        row = MAKER.echo(chance)
        count = sum(row.learned)
        *before, first = row.ids[: len(row.ids) - count]
        again = (first, *row.ids[len(row.ids) - count :])
        places = [i for i in range(len(before)) if tuple(before[i : i + len(again)]) == again]
        assert places and all(learned == (i >= len(row.ids) - count) for i, learned in enumerate(row.learned))
        assert min(row.ids) >= len(Mark) and max(row.ids) < CODEC.size


def test_exercises_in_copying_come_at_their_share() -> None:
    exercise = Exercise((Mark.LEMMA, "a : 1 = 1", Mark.LEMMA), ("a : 1 = 1",))
    batches = Batches(MAKER, EIGHT, Mix(HISTORY, copies=2.0), 400, 0, copies=[exercise])
    kinds = Counter(row.kind for batch in batches.epoch(0) for row in batch)
    assert kinds["declarations"] == 8 and kinds["copies"] == 8
