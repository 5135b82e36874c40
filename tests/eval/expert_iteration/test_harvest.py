"""From records and trees to proofs and failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eval.benchmarks.base import Problem, Split
from eval.expert_iteration.harvest import (
    FAILURES_OF_A_STATE,
    FAILURES_OF_AN_ATTEMPT,
    Harvest,
    closest,
    failures_of,
)
from eval.records import Attempted, Record, Status, Step
from prover.errors import InputError
from prover.generators import base
from prover.search.tree import Kind, SearchTree
from prover.training.store import StepStore
from tests.eval import scripted

PROBLEM = Problem("t1", "library", "1", Split.TRAIN, "M", "", "theorem t1 : p", (), "", 1)
ROOT, CHILD, SIDE = ("⊢ a long statement",), ("⊢ short",), ("⊢ a long statement, and longer",)


def tree() -> SearchTree:
    grown = SearchTree(ROOT)
    grown.root.visit = 0
    side, _ = grown.reach(grown.root, "wrong", -1.0, SIDE, 0.1)
    child, _ = grown.reach(grown.root, "right", -2.0, CHILD, 0.1)
    grown.note(grown.root, "omega", -3.0, Kind.ERROR, "omega failed\nwith details", 0.1)
    grown.note(grown.root, "sorry", -3.0, Kind.REFUSED, "sorry is not allowed", 0.0)
    side.visit, child.visit = 1, 2
    for number in range(FAILURES_OF_A_STATE + 5):
        grown.note(side, f"side {number}", -1.0, Kind.ERROR, "no \ud800", 0.1)
    grown.note(child, "loop", -1.0, Kind.CRASH, "timeout: 12 s", 12.0)
    grown.note(child, "rfl", -1.0, Kind.FINISHED, "", 0.1)
    return grown


def record(status: Status = Status.PROVED) -> Record:
    steps = (Step(ROOT, "right"), Step(CHILD, "rfl")) if status is Status.PROVED else ()
    return replace(scripted.record(1), split="train", status=status, steps=steps, tactics=9)


def test_a_proof_is_kept_with_its_steps_and_what_failed_on_the_way(tmp_path: Path) -> None:
    with StepStore(tmp_path / "store", "4") as store:
        Harvest(store, {"t1": PROBLEM}, "portfolio", 64).keep(Attempted(record(), tree().to_json(), 9))
        (proof,), failures = store.proofs(), store.failures()
    assert proof.script == ("right", "rfl") and proof.steps[1] == base.Step(CHILD, "rfl")
    assert (proof.statement, proof.module, proof.tactics) == ("theorem t1 : p", "M", 9)
    assert {(f.goals, f.tactic, f.message) for f in failures} >= {
        (ROOT, "omega", "omega failed"),
        (CHILD, "loop", "timeout: 12 s"),
    }
    assert not any(f.tactic == "sorry" for f in failures)


def test_failures_on_the_way_to_a_proof_come_first_and_none_has_too_many() -> None:
    found = failures_of(PROBLEM, tree().to_json())
    assert [f.tactic for f in found[:2]] == ["omega", "loop"]
    assert len(found) == 2 + FAILURES_OF_A_STATE <= FAILURES_OF_AN_ATTEMPT


def test_how_near_a_search_came() -> None:
    body = tree().to_json()
    assert closest(body) == len(CHILD[0]) / len(ROOT[0])
    assert closest(SearchTree(ROOT).to_json()) == 1.0


def test_an_attempt_without_a_proof_is_known_too(tmp_path: Path) -> None:
    with StepStore(tmp_path / "store", "4") as store:
        harvest = Harvest(store, {"t1": PROBLEM}, "portfolio", 64)
        harvest.keep(Attempted(record(Status.NOT_PROVED), tree().to_json()))
        harvest.keep(Attempted(replace(record(Status.INFRASTRUCTURE), seed=1), None))
        standing = store.standings()["t1"]
        assert not store.proofs()
    assert (standing.proved, standing.attempts, standing.budget) == (False, 1, 64)
    assert standing.closest < 1.0


def test_nothing_is_learned_from_held_out_theorems(tmp_path: Path) -> None:
    with (
        StepStore(tmp_path / "store", "4") as store,
        pytest.raises(InputError, match="only training theorems"),
    ):
        Harvest(store, {"t1": replace(PROBLEM, split=Split.TEST)}, "portfolio", 64)


def test_other_proofs_of_the_same_theorem_are_kept_too(tmp_path: Path) -> None:
    other = (Step(ROOT, "simp"),)
    with StepStore(tmp_path / "store", "4") as store:
        Harvest(store, {"t1": PROBLEM}, "portfolio", 64).keep(
            Attempted(record(), tree().to_json(), 3, (other, other))
        )
        assert {p.script for p in store.proofs()} == {("right", "rfl"), ("simp",)}
        assert store.standings()["t1"].tactics == 3
