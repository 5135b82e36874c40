"""Exercises from declarations."""

from __future__ import annotations

from prover.decoder.prompts import Mark
from prover.training.declarations import exercises
from tests.generators.samples import CORPUS


def test_types_names_and_modules_are_told() -> None:
    types, names, modules = exercises(CORPUS, lambda module: True, 1000, len)
    assert (types[-1].shown, types[-1].learned) == (
        (Mark.LEMMA, "List.length_map_late"),
        (" : ∀ (f : α → β), (List.map f as).length = as.length",),
    )
    assert names[1].shown == (Mark.GOAL, "⊢ ∀ (n : Nat), n + 0 = n", Mark.GOAL_END, Mark.TACTIC)
    assert names[1].learned == ("exact @Nat.add_zero", Mark.END)
    assert len(modules) == 3 and not modules[0].shown
    assert modules[0].learned[:4] == (
        Mark.LEMMA,
        "Nat : Type",
        Mark.LEMMA,
        "Nat.add_comm : ∀ (n m : Nat), n + m = m + n",
    )


def test_only_kept_modules_are_told() -> None:
    for kind in exercises(CORPUS, lambda module: module == "C", 1000, len):
        assert len(kind) == 1 and "length_map_late" in str(kind[0])


def test_documents_keep_the_budget() -> None:
    _, _, modules = exercises(CORPUS, lambda module: True, 80, len)
    sizes = [sum(1 if isinstance(p, Mark) else len(p) for p in e.learned) for e in modules]
    assert len(modules) > 3 and max(sizes) <= 80
