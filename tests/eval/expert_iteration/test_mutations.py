"""Synthetic theorems: what is made of a library theorem, and that Lean accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks.base import Split
from eval.expert_iteration.mutations import Mutation, joined, mutations, synthetic, taken_apart
from eval.expert_iteration.planned import Planned
from eval.expert_iteration.rounds import Round, synthesize
from prover.environment import TacticState
from prover.generators.base import Query, Step, well_formed
from prover.lean.messages import Declaration, Module
from prover.lean.toolchain import LeanCommand
from prover.premises import PremiseCorpus
from prover.search.best_first import Budget
from prover.training.store import StepStore
from tests.generators.samples import LENGTH


def theorem(name: str, type_: str, module: str = "M") -> Declaration:
    return Declaration(name, "theorem", module, type_, ())


MAP = theorem(
    "List.length_map",
    "∀ {α : Type u_1} {β : Type u_2} {as : List α} (f : α → β), (as.map f).length = as.length",
)
COMM = theorem("Nat.add_comm", "∀ (n m : Nat), n + m = m + n")
LT = theorem("Nat.lt_of_lt_of_le", "∀ {n m k : Nat}, n < m → m ≤ k → n < k")
POS = theorem("Nat.pos_of_ne_zero", "∀ {n : Nat}, n ≠ 0 → 0 < n")
IFF = theorem("Nat.succ_le_iff", "∀ {n m : Nat}, n.succ ≤ m ↔ n < m")
NE = theorem("Nat.succ_ne_zero", "∀ (n : Nat), n.succ ≠ 0")
CORPUS = PremiseCorpus("4", (Module("M", ()), Module("N", ())), (MAP, COMM, LT, POS, IFF, NE))


def made(declaration: Declaration) -> dict[str, Mutation]:
    stated = taken_apart(declaration)
    assert stated is not None
    return {mutation.kind: mutation for mutation in mutations(stated)}


def test_a_theorem_is_taken_apart() -> None:
    stated = taken_apart(LT)
    assert stated is not None
    assert (stated.binders, stated.premises, stated.text) == ("{n m k : Nat}", ("n < m", "m ≤ k"), "n < k")
    stated = taken_apart(MAP)
    assert stated is not None and stated.universes == ("u_1", "u_2")
    assert stated.binders == "{α : Type u_1} {β : Type u_2} {as : List α} (f : α → β)"


@pytest.mark.parametrize(
    "type_",
    [
        "∀ (n : Nat), f n ⋯ = n",
        "∀ x, x = x",
        "∀ (h : 1 = 1), 2 = 2 → 3 = 3",
        "∀ (n : Nat), " + "n + " * 200 + "n = n",
    ],
)
def test_what_cannot_be_stated_again_is_passed_over(type_: str) -> None:
    assert taken_apart(theorem("t", type_)) is None


def test_kinds_follow_the_conclusion() -> None:
    assert made(MAP).keys() == {"itself", "turned"}
    assert made(IFF).keys() == {"itself", "forth", "back"}
    assert made(POS).keys() == {"itself", "contrapositive"}
    assert made(NE).keys() == {"itself", "absurd"}
    assert made(LT).keys() == {"itself"}
    assert made(COMM)["turned"].target == "m + n = n + m"
    assert (made(IFF)["back"].facts, made(IFF)["back"].target) == (("n < m",), "n.succ ≤ m")
    assert (made(POS)["contrapositive"].facts, made(POS)["contrapositive"].target) == (
        ("¬(0 < n)",),
        "¬(n ≠ 0)",
    )


def test_two_theorems_are_joined_each_with_its_binders() -> None:
    one, other = taken_apart(COMM), taken_apart(POS)
    assert one is not None and other is not None
    assert joined(one, other).target == "(n + m = m + n) ∧ ∀ {n : Nat}, n ≠ 0 → 0 < n"


def test_names_are_unique_and_what_is_known_is_left_out() -> None:
    everything = [problem.id for problem, _ in synthetic(CORPUS, lambda module: True)]
    assert len(set(everything)) == len(everything) == 18
    assert [p.id for p, _ in synthetic(CORPUS, lambda module: True, everything[:10])] == everything[10:]
    assert not list(synthetic(CORPUS, lambda module: module == "N"))
    assert all(p.split is Split.TRAIN and p.tag("module") == "M" for p, _ in synthetic(CORPUS, bool))


@given(st.text(max_size=60))
def test_no_type_breaks_it_and_plans_are_tactics(type_: str) -> None:
    stated = taken_apart(theorem("t", type_))
    for mutation in mutations(stated) if stated else ():
        assert all(well_formed(tactic) is None for step in mutation.plan for tactic in step)


async def test_a_plan_is_followed_step_by_step() -> None:
    generator = Planned({"s": (("a", "b", "a"), ("c",))})
    state = TacticState((LENGTH,), ())
    history = tuple(Step((LENGTH.pretty,), tactic) for tactic in ("a", "x", "y"))
    queries = [Query(state, history[:count], "s") for count in range(4)]
    answers = await generator.generate(queries)
    assert [[c.tactic for c in one] for one in answers] == [["a", "b"], ["c"], ["c"], ["c"]]


@pytest.mark.lean
async def test_lean_accepts_every_kind(tmp_path: Path, embedded_command: LeanCommand) -> None:
    problems = list(synthetic(CORPUS, lambda module: True))
    how = Round(99, "planned", Budget(8, 32, 20.0), workers=1, proofs=2)
    with StepStore(tmp_path / "store", "4") as store:
        await synthesize(problems, store, embedded_command, how, lambda event: None)
        proofs, standings = store.proofs(), store.standings()
    assert {name for name, standing in standings.items() if not standing.proved} == set()
    assert {proof.source for proof in proofs} == {"synthetic"}
    assert any(len(proof.steps) > 2 for proof in proofs)
