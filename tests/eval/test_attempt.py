"""Attempts on real Lean: what is recorded, and what the checker refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from eval.attempt import Bench
from eval.benchmarks.base import Problem, Split
from eval.checking import with_proof
from eval.recheck import Rechecked, recheck
from eval.records import Record, Status
from prover.errors import InputError
from prover.lean.toolchain import LeanCommand
from prover.search.best_first import Budget

pytestmark = [pytest.mark.lean, pytest.mark.asyncio(loop_scope="module")]


def library(name: str, module: str) -> Problem:
    return Problem(name, "library", "1", Split.TRAIN, module, "", "", (), "", 7)


def source(statement: str, header: str = "set_option autoImplicit false") -> Problem:
    return Problem("p", "own", "1", Split.VALID, None, header, statement, ("category:x",), "", 0)


CONS = library("List.cons_ne_nil", "Init.Data.List.Lemmas")
SUM = source("theorem p (a b : Nat) (h : a = b) : b = a := by sorry")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(embedded_command: LeanCommand) -> AsyncIterator[Bench]:
    async with Bench(embedded_command, "portfolio", Budget(20, 200, 20.0), workers=1, spares=0) as bench:
        yield bench


async def test_a_library_theorem_is_proved_without_itself(bench: Bench) -> None:
    done = await bench.attempt(CONS, 3)
    record = done.record
    assert record.status is Status.PROVED and record.proof and record.message == ""
    assert "List.cons_ne_nil" not in " ".join(record.proof)
    assert (record.problem, record.seed, record.position, record.tries) == ("List.cons_ne_nil", 3, 7, 1)
    assert record.steps[0].goals == ("α : Type u_1\na : α\nl : List α\n⊢ a :: l ≠ []",)
    assert record.ended == "proved" and record.tactics >= 1 and record.expansions >= 1
    assert 0 < record.lean_seconds <= record.search_seconds <= record.wall_seconds
    assert record.model_hash and record.lean and record.commit and record.machine
    assert done.tree is not None and done.tree["nodes"]
    assert Record.from_json(record.to_json()) == record


async def test_a_statement_in_source(bench: Bench) -> None:
    record = (await bench.attempt(SUM, 0)).record
    assert record.status is Status.PROVED
    assert record.tags == ("category:x",)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (source("theorem p : (0 : ℝ) = 0 := by sorry"), "ℝ"),
        (source("theorem p : 1 = 1 := by sorry", "import Mathlib"), "Mathlib"),
        (source("theorem p : 1 = 1 := rfl"), "0 goals"),
        (source("theorem p : 1 = 1 ∧ 2 = 2 := ⟨by sorry, by sorry⟩"), "2 goals"),
        (library("nowhere", "Init.Core"), "declares no nowhere"),
        (library("Nat.le_refl", "Init.Prelude"), "its own module"),
    ],
)
async def test_not_expressible(bench: Bench, problem: Problem, reason: str) -> None:
    record = (await bench.attempt(problem, 0)).record
    assert record.status is Status.NOT_EXPRESSIBLE
    assert reason in record.message


async def test_a_false_statement_ends_on_its_budget(bench: Bench) -> None:
    record = (await bench.attempt(source("theorem p (a b : Nat) : a + b = b + a + b := by sorry"), 0)).record
    assert record.status is Status.NOT_PROVED
    assert record.ended in ("exhausted", "budget_expansions", "budget_tactics", "budget_seconds")
    assert record.proof is None and record.steps == ()


#: Not one proves ``a :: l ≠ []``.
HOSTILE = [
    "sorry",
    "exact sorryAx _",
    "skip",
    "exact List.cons_ne_nil _ _",
    "native_decide",
    "intro h\n  exact (Lean.ofReduceBool _ _ rfl)",
    "run_tac Lean.Elab.Tactic.setGoals []",
    "set_option debug.skipKernelTC true in\n  exact fun h => h",
    "exact (by assumption)",
    "intro h) <;> (skip",
    "intro h\n  cases h\n\ntheorem other : False := by skip",
    "",
]


@pytest.mark.parametrize("proof", HOSTILE)
async def test_the_checker_refuses(bench: Bench, proof: str) -> None:
    assert await bench._checker.check(CONS, tuple(proof.split("\n")))


async def test_the_checker_accepts(bench: Bench) -> None:
    assert await bench._checker.check(CONS, ("intro h", "cases h")) == ""
    assert await bench._checker.check(SUM, ("exact h.symm",)) == ""


async def test_a_whole_run_is_checked_again(bench: Bench, embedded_command: LeanCommand) -> None:
    record = (await bench.attempt(CONS, 0)).record
    forged = replace(record, seed=1, proof=("exact absurd rfl nofun",))
    failed = replace(record, seed=2, status=Status.NOT_PROVED, proof=None)
    told: list[Rechecked] = []
    checked = await recheck(embedded_command, [forged, record, failed], [CONS], told.append)
    assert told == checked
    assert [(one.record.seed, bool(one.reason)) for one in checked] == [(1, True), (0, False)]
    with pytest.raises(InputError, match="not what the run proved"):
        await recheck(embedded_command, [replace(record, statement_hash="0")], [CONS], told.append)


async def test_the_proof_takes_the_place_of_the_last_sorry() -> None:
    assert with_proof("-- sorry ∀\ntheorem p : True := by sorry\n", ("skip", "trivial")) == (
        "-- sorry ∀\ntheorem p : True := by\n  skip\n  trivial\n"
    )
    assert "by" in with_proof("theorem p : True := sorry", ("trivial",))


async def test_a_prelude_is_there_for_statement_and_proof(bench: Bench) -> None:
    prelude = 'def double (n : Nat) : Nat := n + n\nnotation "ℕ" => Nat\n'
    problem = replace(source("theorem p (n : ℕ) : double n = 2 * n := by sorry"), prelude=prelude)
    record = (await bench.attempt(problem, 0)).record
    assert record.status is Status.PROVED, record.message
    assert record.statement_hash != replace(problem, prelude="").statement_hash
