"""Declarations are read before they are asked for, and what was read is in memory afterwards."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.checkpoint import load_checkpoint
from prover.decoder.codec import Codec
from prover.decoder.prompts import Mark
from prover.generators import base
from prover.lean.messages import Declaration, Module
from prover.premises import PremiseCorpus
from prover.training.dataset import RowMaker
from prover.training.episodes import Episodes, Step, Story, names_in, renamed, stories
from prover.training.examples import Corpus, Proof, read_corpus
from prover.training.lessons import Lesson, lessons
from prover.training.memory_trainer import Slots, collated, document_perplexity, finding_loss
from prover.training.models import model_for
from prover.training.renaming import made_up
from prover.training.tokenizer import load_tokenizer, train_tokenizer
from prover.training.train import Job, train
from tests.training.toy import corpus_file, recipe

DECLARED = tuple(
    Declaration(f"{module}.lemma_{i}", "theorem", module, f"{module} = {i}", ())
    for module in ("A", "B")
    for i in range(40)
)
LIBRARY = PremiseCorpus("4.0.0", (Module("A", ()), Module("B", ("A",))), DECLARED)


def lesson(number: int, module: str = "A") -> Lesson:
    """A goal that a lemma of the library proves."""
    named = f"{module}.lemma_{number}"
    step = base.Step((f"⊢ {module} = {number}",), f"exact {named}")
    position = {"A": 0, "B": 1}[module]
    proof = Proof(f"T{number}", module, f"theorem T{number} : x", position, (step,), "library", "train")
    return Lesson(proof, 0, (step.tactic,), ("rfl", f"simp [{named}]"))


LESSONS = [lesson(i, module) for module in ("A", "B") for i in range(0, 40, 3)]
TOKENIZER = train_tokenizer([f"{d.name} {d.type}" for d in DECLARED] + ["exact ⊢ rfl simp theorem"], 330)
MAKER = RowMaker(Codec(TOKENIZER), 128)


def rows_of(steps: Sequence[Step], slot: int) -> list[str]:
    """What a slot was told, in order."""
    turns = (turn for step in steps for turn in step.turns)
    told = [(at, row) for turn in turns for at, row in zip(turn.slots, turn.rows, strict=True)]
    return [MAKER.codec.decode(row.ids) for at, row in told if at == slot]


def test_a_document_holds_what_its_lessons_name_and_as_much_beside_it() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    named = {name for it in LESSONS for name in names_in(it)}
    declared = [d.name for d in story.declared]
    assert named & {d.name for d in DECLARED} <= set(declared)
    assert len(declared) == 2 * len(LESSONS) and len(set(declared)) == len(declared)
    assert [d.module for d in story.declared] == sorted(d.module for d in story.declared)


@given(st.integers(0, 1000))
def test_a_lemma_is_read_before_it_is_asked_for(seed: int) -> None:
    told = Episodes(MAKER, stories(LESSONS, LIBRARY), 1, seed, renames=0.0)
    steps = list(told.epoch(0))
    rows = rows_of(steps, 0)
    for number, module in ((0, "A"), (39, "B")):
        read = f"exact {module}.lemma_{number}{Mark.END}"
        place = next(i for i, row in enumerate(rows) if row.endswith(read))
        goal = f"⊢ {module} = {number}<"
        asked = next(i for i, row in enumerate(rows) if goal in row and row.startswith(Mark.THEOREM))
        assert place < asked
    assert sum(row.startswith(Mark.THEOREM) for row in rows) == len(LESSONS)
    assert [step.begun for step in steps] == [frozenset({0})] + [frozenset()] * (len(steps) - 1)


def test_an_epoch_depends_on_its_number_and_the_seed_alone() -> None:
    told = [Episodes(MAKER, stories(LESSONS, LIBRARY), 2, seed) for seed in (1, 1, 2)]
    first, again, other = (list(it.epoch(0)) for it in told)
    assert first == again != other
    assert list(told[0].epoch(1)) != first


def test_made_up_names_are_the_same_throughout_a_document() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    names = made_up([d.name for d in story.declared if d.kind == "theorem"], random.Random(0))
    other = renamed(story, names)
    new = {old.name: fresh.name for old, fresh in zip(story.declared, other.declared, strict=True)}
    assert all(fresh != old and fresh.startswith(old[:2]) for old, fresh in new.items())
    for old_lesson, fresh_lesson in zip(story.lessons, other.lessons, strict=True):
        (name,) = names_in(old_lesson) - {"exact"}
        assert fresh_lesson.worked == (f"exact {new[name]}",)
        assert fresh_lesson.failed == ("rfl", f"simp [{new[name]}]")
        assert fresh_lesson.proof.steps[0].tactic == fresh_lesson.worked[0]


def test_a_name_is_numbered_where_it_was_read_and_where_it_is_said() -> None:
    codec = MAKER.codec
    (story,) = stories(LESSONS, LIBRARY)
    rows = [row for step in steps_of(story) for turn in step.turns for row in turn.rows]
    for name in ("A.lemma_0", "B.lemma_39"):
        parts = codec.encode((name,))
        numbers = {zlib.crc32(name.encode()) * 64 + part: token for part, token in enumerate(parts)}
        for number, token in numbers.items():
            places = [(row, at) for row in rows for at, it in enumerate(row.named) if it == number]
            assert {row.kind for row, _ in places} >= {"declarations", "lessons"}
            assert all(row.ids[at + 1] == token and row.branches[at] > 0 for row, at in places)


def test_finding_costs_what_a_softmax_over_all_entries_says() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(3, 4, 8), torch.randn(2, 5, 8)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    wanted, named = torch.tensor([7, 9, 8]), torch.tensor([8, -1, 7, 7, -1])
    expected = 0.0
    for query, number in ((0, 7), (2, 8)):  # nothing is there for the other one
        for head in range(4):
            weights = (keys[head // 2] @ queries[query, head] * scale[head]).softmax(dim=0)
            expected -= float(weights[named == number].sum().log()) / 4
    found = finding_loss(queries, keys, wanted, named, scale)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(finding_loss(queries, keys, wanted, torch.full((5,), -1), scale)) == 0.0


def test_what_is_found_again_is_learned(tmp_path: Path) -> None:
    (story,) = stories(LESSONS, LIBRARY)
    reading, steps = model().train(), steps_of(story)
    optimizer = torch.optim.AdamW(reading.parameters(), lr=3e-3)
    found = []
    for _ in range(6):
        slots, total = memories(), 0.0
        for step in steps:
            _, finding, _ = slots.loss(reading, collated(step, 1, 0))
            finding.backward()
            optimizer.step()
            optimizer.zero_grad()
            slots.settle()
            total += float(finding.detach())
        found.append(total)
    assert found[-1] < 0.8 * found[0]


# --- memories -------------------------------------------------------------------------------------


def model() -> torch.nn.Module:
    found: torch.nn.Module = model_for(recipe(memory=500), TOKENIZER).eval()
    return found


def steps_of(story: Story) -> list[Step]:
    return list(Episodes(MAKER, [story], 1, 0, renames=0.0).epoch(0))


def memories(count: int = 1, capacity: int = 500) -> Slots:
    return Slots(model(), count, capacity, torch.device("cpu"))


def kept(steps: Sequence[Step], slot: int = 0) -> int:
    """Tokens of tactics, without the first of each."""
    turns = [turn for step in steps for turn in step.turns]
    rows = (row for t in turns for at, row in zip(t.slots, t.rows, strict=True) if at == slot)
    return sum(sum(branch > 0 for branch in row.branches) - max(row.branches) for row in rows)


def test_what_is_kept_of_a_step_are_its_tactics() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    first = steps_of(story)[0]
    slots = memories(capacity=10_000)
    slots.loss(model(), collated(first, 1, 0))
    assert len(slots._memories[0]) == kept([first])
    slots.settle()
    assert len(slots._memories[0]) == kept([first])


def test_beyond_its_capacity_a_memory_forgets_the_oldest() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    slots = memories(capacity=10)
    slots.loss(model(), collated(steps_of(story)[0], 1, 0))
    newest = slots._memories[0]._keys[-1][:, -10:].detach().clone()
    slots.settle()
    assert torch.equal(slots._memories[0]._keys[0], newest)


def test_lessons_learn_through_what_was_read_just_before_and_nothing_older() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    first, second, *_ = (collated(step, 1, 0) for step in steps_of(story))
    reading = model()
    slots = memories()
    slots.loss(reading, first)
    live, settled = slots._memories[0]._keys[1], slots._memories[0]._keys[0]
    assert live.requires_grad and not settled.requires_grad
    live.retain_grad()
    slots._turn(reading, first["turns"][1])[0].backward()
    assert live.grad is not None and live.grad.abs().sum() > 0
    slots.settle()
    assert not any(part.requires_grad for part in slots._memories[0]._keys)
    slots.loss(reading, second)[0].backward()


def test_a_memory_changes_what_comes_after_it_alone() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    step = collated(steps_of(story)[0], 1, 0)
    reading = model()
    reading.model.layers[1].self_attn.memory_gate.data.fill_(2.0)  # type: ignore
    losses = []
    with torch.no_grad():
        for capacity in (500, 0):
            slots = memories(capacity=capacity)
            losses.append([slots._turn(reading, turn)[0] for turn in step["turns"]])
    (read, *_, asked), (read_without, *_, asked_without) = losses
    assert read == read_without and asked != asked_without


def test_a_new_document_begins_with_an_empty_memory() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    one, two, *_ = steps_of(story)
    again = collated(replace(two, begun=frozenset({0})), 1, 0)
    reading = model()
    slots, fresh = memories(), memories()
    with torch.no_grad():
        slots.loss(reading, collated(one, 1, 0))
        assert slots.loss(reading, again)[0] == fresh.loss(reading, again)[0]


def test_documents_are_apart_in_their_slots() -> None:
    told = Episodes(MAKER, [Story(DECLARED[:3], tuple(LESSONS[:1])), Story(DECLARED[3:5], ())], 2, 0, 0.0)
    steps = list(told.epoch(0))
    slots = memories(2)
    for step in steps:
        slots.loss(model(), collated(step, 2, 0))
    assert [len(memory) for memory in slots._memories] == [kept(steps, slot) for slot in (0, 1)]


def _maker_of(checkpoint: Path) -> RowMaker:
    return RowMaker(Codec(load_tokenizer(checkpoint)), 128)


def test_a_training_with_a_memory_ends_in_a_checkpoint_that_has_one(tmp_path: Path) -> None:
    proofs = tuple(it.proof for it in LESSONS) * 3
    LIBRARY.save(tmp_path / "premises.json")
    asked = recipe(memory=300, steps=4, slots=2, held_out=0.0, length=128)
    data = corpus_file(tmp_path, Corpus(proofs, (), "4.0.0"))
    record = train(Job(data, tmp_path / "model", asked, tmp_path / "premises.json"), lambda line: None)
    assert record["figures"]["steps"] == 4
    # All rows of all turns were run, as they were made.
    known = stories(lessons(read_corpus(data).proofs, ()), LIBRARY)
    told = Episodes(_maker_of(tmp_path / "model"), known, 2, asked.seed)
    steps = list(islice((step for number in count() for step in told.epoch(number)), 4))
    sizes = [turn["input_ids"].numel() for step in steps for turn in collated(step, 2, 0)["turns"]]
    assert record["figures"]["tokens"] == sum(sizes)
    loaded = load_checkpoint(str(tmp_path / "model"))
    assert loaded.model.config.model_type == "memorizing_llama"
    gate = loaded.model.model.layers[1].self_attn.memory_gate  # type: ignore[union-attr]
    assert not torch.equal(gate, torch.full_like(gate, -1.0))


def test_perplexity_is_that_of_what_is_learned() -> None:
    (story,) = stories(LESSONS, LIBRARY)
    value = document_perplexity(model(), steps_of(story), 0, 0)
    assert value == pytest.approx(len(TOKENIZER), rel=0.5)


def test_theorems_that_were_read_are_to_be_named_at_what_they_prove() -> None:
    theorem = Declaration("A.comm", "theorem", "A", "∀ (x y : Nat), x = y → y = x", ())
    told = Episodes(MAKER, [Story((theorem,), ())], 1, 0, renames=0.0)
    read, named = rows_of(list(told.epoch(0)), 0)
    assert read == f"{Mark.GOAL}⊢ {theorem.type}{Mark.GOAL_END}{Mark.TACTIC}exact A.comm{Mark.END}"
    goal = f"{Mark.GOAL}x y : Nat\nh : x = y\n⊢ y = x{Mark.GOAL_END}"
    assert named == f"{goal}{Mark.TACTIC}exact A.comm{Mark.END}"
