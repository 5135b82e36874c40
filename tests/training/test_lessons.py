"""What worked and what failed at a state, in one row: as if each tactic were told by itself."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import groupby

import pytest
import torch

from prover.decoder.codec import Codec
from prover.decoder.prompts import Mark, PromptForm
from prover.lean.messages import Declaration, Module
from prover.premises import PremiseCorpus
from prover.training.applying import applications
from prover.training.dataset import IGNORED, Batches, Mix, Row, RowMaker, padded
from prover.training.examples import Failure
from prover.training.lessons import FAILED, WORKED, Lesson, lessons
from prover.training.models import model_for
from prover.training.tokenizer import train_tokenizer
from prover.training.trainer import summed_loss
from tests.training.toy import EIGHT, HISTORY, proof, recipe

TOKENIZER = train_tokenizer([text for p in EIGHT for s in p.steps for text in (*s.goals, s.tactic)], 320)
CODEC = Codec(TOKENIZER)
MAKER = RowMaker(CODEC, 512)
FIRST, SECOND = EIGHT[1].steps
FAILURES = (
    Failure("T1", FIRST.goals, "omega", "no"),
    Failure("T1", FIRST.goals, "simp", "no"),
    Failure("T1", SECOND.goals, "rfl", "no"),
    Failure("T2", FIRST.goals, "decide", "of another theorem"),
)


def told(row: Row) -> list[str]:
    """The beginning, and each continuation."""
    parts = groupby(zip(row.branches, row.ids, strict=True), key=lambda pair: pair[0])
    return [CODEC.decode([i for _, i in part]) for _, part in parts]


def test_a_state_has_all_that_is_known_of_it_once() -> None:
    other = replace(proof(1, "ac_rfl"), steps=(replace(FIRST, tactic="ac_rfl"),))
    first, second = lessons([EIGHT[1], other], FAILURES)
    assert (first.worked, first.failed) == (("ac_rfl", "rw [Nat.add_comm]"), ("omega", "simp"))
    assert (second.place, second.worked, second.failed) == (1, ("exact h1",), ("rfl",))


def test_what_worked_once_is_no_failure() -> None:
    (lesson, _) = lessons([EIGHT[1]], [Failure("T1", FIRST.goals, "rw [Nat.add_comm]", "timed out")])
    assert lesson.failed == ()


def test_the_same_goal_after_another_history_is_another_state() -> None:
    again = replace(proof(1, "skip", "x"), steps=(replace(FIRST, tactic="skip"), FIRST))
    assert len(lessons([EIGHT[1], again], ())) == 3


def test_each_tactic_is_told_with_its_verdict() -> None:
    (lesson, _) = lessons([EIGHT[1]], FAILURES)
    row = MAKER.lesson(lesson, PromptForm.GOAL)
    shared, *tactics = told(row)
    assert shared.endswith(Mark.GOAL_END)
    assert tactics == [
        f"{Mark.TACTIC}rw [Nat.add_comm]{Mark.END}{Mark.PROOF}",
        f"{Mark.TACTIC}omega{Mark.END}{Mark.TACTIC}",
        f"{Mark.TACTIC}simp{Mark.END}{Mark.TACTIC}",
    ]
    learned = CODEC.decode([i for i, is_learned in zip(row.ids, row.learned, strict=True) if is_learned])
    assert learned == f"rw [Nat.add_comm]{Mark.END}{Mark.PROOF}{Mark.TACTIC}{Mark.TACTIC}"


def test_a_row_costs_what_its_tactics_cost_by_themselves() -> None:
    model = model_for(recipe(), TOKENIZER).eval()
    (lesson, last) = lessons([EIGHT[1]], FAILURES)
    rows = [MAKER.lesson(it, PromptForm.HISTORY) for it in (lesson, last)]
    alone = [part for row in rows for part in separated(row)]
    with torch.no_grad():
        together, count = summed_loss(model, padded(rows, CODEC.pad_id))
        apart = [summed_loss(model, padded([row], CODEC.pad_id)) for row in alone]
    assert count == sum(learned for _, learned in apart)
    assert float(together) == pytest.approx(sum(float(loss) for loss, _ in apart), rel=0.02)


def separated(row: Row) -> list[Row]:
    """Each continuation behind the beginning, as a row without branches."""
    numbers = sorted(set(row.branches) - {0})
    kept = [[place for place, at in enumerate(row.branches) if at in (0, number)] for number in numbers]
    return [
        Row(tuple(row.ids[i] for i in places), tuple(row.learned[i] for i in places), row.kind)
        for places in kept
    ]


def test_positions_go_on_from_the_beginning_in_each_continuation() -> None:
    rows = [
        Row((1, 2, 3, 4, 5), (False,) * 5, "lessons", (0, 0, 1, 1, 2)),
        Row((1, 2), (False,) * 2, "", (0, 1)),
    ]
    batch = padded(rows, 0)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 2], [0, 1, 0, 0, 0]]
    assert batch["attention_mask"][0, 0, 4].tolist() == [True, True, False, False, True]
    assert batch["labels"].eq(IGNORED).all()


def test_lessons_are_drawn_at_their_share_and_in_batches_of_their_own() -> None:
    mix = Mix(HISTORY, lessons=2.0)
    batches = list(Batches(MAKER, EIGHT, mix, 600, 0, lessons=lessons(EIGHT, FAILURES)).epoch(0))
    kinds = [{bool(row.branches) for row in batch} for batch in batches]
    assert {True} in kinds and {True, False} not in kinds
    assert sum(bool(row.branches) for batch in batches for row in batch) == 16


def test_a_row_tells_no_more_tactics_than_it_may() -> None:
    many = tuple(f"exact h{i}" for i in range(20))
    lesson = Lesson(EIGHT[2], 0, many, many).drawn(random.Random(0))
    assert (len(lesson.worked), len(lesson.failed)) == (WORKED, FAILED)


def test_names_that_are_made_up_are_copied_from_what_is_shown() -> None:
    shown = ("Nat.add_comm : ∀ (n m : Nat), n + m = m + n", "Nat.le_refl : ∀ (n : Nat), n ≤ n")
    maker = RowMaker(CODEC, 512, lambda goal, proof: shown)
    (lesson, _) = lessons([EIGHT[1]], [Failure("T1", FIRST.goals, "exact Nat.le_refl n1", "no")])
    orders = set()
    for seed in range(8):
        prompt, worked, failed = told(maker.renamed(lesson, PromptForm.CONTEXT, random.Random(seed)))
        lines = [line.partition(" : ") for line in prompt.split(Mark.THEOREM)[0].split(Mark.LEMMA)[1:]]
        names = {type_.strip(): name for name, _, type_ in lines}
        comm, refl = (names[line.partition(" : ")[2]] for line in shown)
        orders.add(lines[0][0] == refl)
        assert worked == f"{Mark.TACTIC}rw [{comm}]{Mark.END}{Mark.PROOF}"
        assert failed == f"{Mark.TACTIC}exact {refl} n1{Mark.END}{Mark.TACTIC}"
    assert orders == {True, False} and {comm, refl} != {"Nat.add_comm", "Nat.le_refl"}


def test_lessons_are_renamed_at_their_share() -> None:
    shown = ("Nat.add_comm : ∀ (n m : Nat), n + m = m + n",)
    maker = RowMaker(CODEC, 512, lambda goal, proof: shown)
    for share in (0.0, 1.0):
        mix = Mix({PromptForm.CONTEXT: 1.0}, lessons=2.0, renamed=share)
        rows = [r for b in Batches(maker, EIGHT, mix, 600, 0, lessons=lessons(EIGHT, ())).epoch(0) for r in b]
        taught = [told(row)[0] for row in rows if row.kind == "lessons"]
        assert len(taught) == 16
        same = sum("Nat.add_comm :" in text for text in taught)
        assert same == 16 if share == 0.0 else same < 8  # a name may be made up as it was


def test_a_library_theorem_is_to_be_applied_where_it_is_the_goal() -> None:
    plain, premise, out = (
        Declaration("Nat.add_comm", "theorem", "A", "∀ (n m : Nat), n + m = m + n", ()),
        Declaration("Nat.le_of_lt", "theorem", "A", "∀ {n m : Nat}, n < m → n ≤ m", ()),
        Declaration("Nat.held_out", "theorem", "B", "True", ()),
    )
    library = PremiseCorpus("4.0.0", (Module("A", ()), Module("B", ())), (plain, premise, out))
    first, second = applications(library, "A".__eq__)
    assert first.proof.steps[0].goals == ("n m : Nat\n⊢ n + m = m + n",)
    assert first.worked == ("apply Nat.add_comm",) == first.proof.script
    assert second.worked == ("apply Nat.le_of_lt <;> assumption",)
    mix = Mix({PromptForm.GOAL: 1.0}, applied=0.5)
    batches = Batches(MAKER, EIGHT, mix, 600, 0, applications=[first, second])
    rows = [row for batch in batches.epoch(0) for row in batch if row.kind == "lessons"]
    assert len(rows) == 4 and all("apply Nat." in told(row)[1] for row in rows)
