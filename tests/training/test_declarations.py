"""Exercises from declarations."""

from __future__ import annotations

from prover.decoder.prompts import Mark
from prover.training.declarations import copies, exercises
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
    assert not list(copies(CORPUS, lambda module: module == "C", 1000, len)), "there is one theorem alone"


def test_documents_keep_the_budget() -> None:
    _, _, modules = exercises(CORPUS, lambda module: True, 80, len)
    sizes = [sum(1 if isinstance(p, Mark) else len(p) for p in e.learned) for e in modules]
    assert len(modules) > 3 and max(sizes) <= 80


def test_what_is_to_be_copied_stands_before_under_made_up_names() -> None:
    copied = list(copies(CORPUS, lambda module: True, 1000, len))
    known = {declaration.name for declaration in CORPUS.premises}
    assert len(copied) > 1000
    for exercise in copied[:200]:
        lines = [piece for piece in exercise.shown if not isinstance(piece, Mark)]
        assert exercise.shown[-1] == Mark.LEMMA and len(set(lines)) == len(lines)
        learned = [piece for piece in exercise.learned if not isinstance(piece, Mark)]
        assert set(learned) <= set(lines) and len(learned) == (len(lines) + 1) // 2
    made_up = {line.split(" : ")[0] for e in copied[:200] for line in e.shown if line != Mark.LEMMA}
    assert len(made_up - known) > 20


def test_copies_keep_the_budget() -> None:
    copied = list(copies(CORPUS, lambda module: True, 150, len))
    sizes = [sum(1 if isinstance(p, Mark) else len(p) for p in (*e.shown, *e.learned)) for e in copied]
    assert sizes and max(sizes) <= 150
