"""Figures of a memory: what is measured is measured with it, and facts made up are new and all different."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memory.lookup import Memory
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.generators.printed import tactic_names
from prover.lean.messages import Declaration
from prover.training.dataset import Row
from prover.training.memory_figures import (
    Told,
    made_up,
    memory_of,
    naming,
    perplexities,
    renamed_facts,
    turns,
)
from tests.decoder.tiny import tiny_memorizing
from tests.memory.exact import random_memory

DECLARED = tuple(
    Row((4, 20 + i, 5, 6, 30 + i, 1), (False,) * 4 + (True,) * 2, "declarations", (0, 0, 0, 1, 1, 1))
    for i in range(3)
)
LESSONS = (Row((4, 21, 5, 6, 31, 1, 7), (False,) * 4 + (True,) * 3, "lessons", (0, 0, 0, 1, 1, 1, 1)),)
TOLD = [Told("M", DECLARED, LESSONS)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = Path(tiny_memorizing(tmp_path_factory.mktemp("memorizing"), seed=1))
    return load_checkpoint(str(folder), "cpu", "float32")


def measured(loaded: LoadedModel, *asked: Any, **options: Any) -> dict[str, float]:
    return perplexities(loaded.model, turns(loaded.model, *asked, **options))


def nothing(module: str, size: int) -> Memory | None:
    return None


def test_without_a_memory_nothing_is_looked_up(loaded: LoadedModel) -> None:
    def refused(module: str, size: int) -> Memory | None:
        raise AssertionError("the library was asked for")

    bare = measured(loaded, TOLD, refused, 0, 0)
    assert bare == pytest.approx(measured(loaded, TOLD, nothing, 0, 0, rows=1), rel=1e-4)


def test_a_modules_own_declarations_are_in_memory_for_its_lessons(loaded: LoadedModel) -> None:
    bare, own = (measured(loaded, TOLD, nothing, size, 0) for size in (0, 100))
    # All of them were read in one go, so that none could look up another.
    assert own["declarations"] == pytest.approx(bare["declarations"], rel=1e-5)
    assert own["lessons"] != pytest.approx(bare["lessons"], rel=1e-5)


def test_the_library_is_asked_for_with_the_module_and_the_size(loaded: LoadedModel) -> None:
    asked = []

    def library(module: str, size: int) -> Memory | None:
        asked.append((module, size))
        return random_memory(2, 12, 8)

    with_library = measured(loaded, TOLD, library, 50, 0)
    assert asked == [("M", 50)]
    assert with_library["declarations"] != measured(loaded, TOLD, nothing, 50, 0)["declarations"]


def test_facts_are_made_up_alike_for_a_seed_and_all_different() -> None:
    facts = made_up(200, 3)
    assert facts == made_up(200, 3) != made_up(200, 4)
    assert len({fact.lemma.name for fact in facts}) == 200
    for fact in facts:
        assert fact.lemma.name not in fact.goal and fact.lemma.name not in fact.lemma.type
        words = set(tactic_names(fact.goal)) & set(tactic_names(fact.lemma.type))
        assert words - {"x", "y", "Nat", "Int", "List", "Bool", "String"}, (
            "the goal speaks of what the lemma does"
        )


async def test_every_fact_is_asked_about(loaded: LoadedModel) -> None:
    facts = made_up(3, 0)
    for memory in (None, memory_of(loaded, facts)):
        found = await naming(loaded, facts, memory, samples=2)
        assert found.questions == 3 and 0.0 <= found.at_1 <= found.at_10 <= 1.0


def test_renamed_facts_have_names_of_the_kind_that_people_give() -> None:
    theorems = [
        Declaration("List.map_nil", "theorem", "M", "∀ (f : Nat → Nat), List.map f [] = []", ()),
        Declaration("Nat.add_zero", "theorem", "M", "∀ (n : Nat), n + 0 = n", ()),
        Declaration("Nat.add", "definition", "M", "Nat → Nat → Nat", ()),
        Declaration("Nat.long", "theorem", "M", "n = n ∧ " * 100 + "True", ()),
    ]
    facts = renamed_facts(theorems, 5, 0)
    assert len(facts) == 2 and facts == renamed_facts(theorems, 5, 0)
    for fact in facts:
        before = next(it for it in theorems if it.type == fact.lemma.type)
        space, name = fact.lemma.name.split(".")
        assert before.name.startswith(f"{space}.") and fact.lemma.name not in (it.name for it in theorems)
        assert set(name.split("_")) <= {"map", "nil", "add", "zero"}
        assert fact.goal.startswith(("f : ", "n : "))


async def test_what_is_shown_and_what_may_be_named_change_the_answers(loaded: LoadedModel) -> None:
    facts = made_up(4, 0)
    library = [Declaration("Known.lemma", "theorem", "M", "True", ())]
    for shown in (0, 3):
        found = await naming(loaded, facts, None, library=library, shown=shown, samples=2)
        assert found.questions == 4
