"""The main loop over a whole file, with a real Lean: it comes to its end, and nothing piles up on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prover import agent
from prover.generators.base import Candidate, Query
from prover.generators.portfolio import Portfolio
from prover.lean.pool import LeanPool
from prover.lean_environment import LeanDojo
from prover.reports import Options, TheoremStatus
from prover.theorem_file import TheoremFile

pytestmark = [pytest.mark.lean, pytest.mark.asyncio(loop_scope="session")]

MANY = 200
GIB = 1024**3
OPTIONS = Options(
    timeout=20.0,
    max_expansions=20,
    max_tactics=40,
    workers=1,
    seed=0,
    generator="portfolio",
    lean="embedded",
    theorems=(),
)
SHAPES = (
    "(a b : Nat) : a + {n} + b = b + a + {n}",
    "(p q : Prop) (h : p ∧ q) : q ∧ p ∧ {n} = {n}",
    "(l : List Nat) : (l ++ []).length + {n} = {n} + l.length",
    "(a b : Nat) (h : a < b) : a + {n} < b + {n}",
    "(a b : Nat) (h : a + {n} = b) : {n} ≤ b",
)


def many_theorems(count: int) -> str:
    shapes = (SHAPES[n % len(SHAPES)].format(n=n) for n in range(count))
    return "".join(f"theorem t{n} {shape} := by sorry\n" for n, shape in enumerate(shapes))


async def test_two_hundred_theorems(lean_pool: LeanPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each theorem Lean holds the roots, and nothing else that it was not told to drop."""
    live: list[int] = []
    memory: list[int] = []
    close = LeanDojo.close

    async def watched(dojo: LeanDojo) -> None:
        await close(dojo)
        live.append(sum(len(worker.states) for worker in dojo._file._all))
        memory.append(max(worker.process.memory for worker in dojo._file._all))

    monkeypatch.setattr(LeanDojo, "close", watched)
    file = TheoremFile(Path("many.lean"), many_theorems(MANY))
    report = await agent.prove_file(file, lean_pool, Portfolio(), OPTIONS, lambda _: None)

    assert [t.name for t in report.theorems] == [f"t{n}" for n in range(MANY)]
    assert {t.status for t in report.theorems} == {TheoremStatus.PROVED}
    assert report.output is not None and "sorry" not in report.output
    assert live == [MANY] * MANY
    assert max(memory) - memory[0] < GIB // 2


class Scripted:
    """Proposes the same tactics everywhere."""

    name = "scripted"

    def __init__(self, *tactics: str) -> None:
        self.tactics = tactics

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [[Candidate(tactic, -1.0) for tactic in self.tactics] for _ in queries]


NAMESAKE = """\
namespace Logic

theorem before (p : Prop) (h : p) : p := by
  sorry

theorem not_exists_of_forall_not {α : Type} (P : α → Prop) (h : ∀ x, ¬P x) : ¬∃ x, P x := by
  sorry

end Logic
"""


async def test_a_library_lemma_of_the_theorems_own_name_is_said_so(lean_pool: LeanPool) -> None:
    """Without ``_root_.`` the proof would be of itself, and the error, on its first line, nobody else's."""
    file = TheoremFile(Path("namesake.lean"), NAMESAKE)
    generator = Scripted("exact h", "exact not_exists_of_forall_not h")
    report = await agent.prove_file(file, lean_pool, generator, OPTIONS, lambda _: None)
    assert {t.name: t.status for t in report.theorems} == {
        "Logic.before": TheoremStatus.PROVED,
        "Logic.not_exists_of_forall_not": TheoremStatus.PROVED,
    }
    assert report.theorems[1].proof == ("exact _root_.not_exists_of_forall_not h",)


async def test_a_proof_that_is_refused_takes_no_neighbour_with_it(
    lean_pool: LeanPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prover.proof_script.from_the_root", lambda tactic, declaration: tactic)
    file = TheoremFile(Path("namesake.lean"), NAMESAKE)
    generator = Scripted("exact h", "exact not_exists_of_forall_not h")
    report = await agent.prove_file(file, lean_pool, generator, OPTIONS, lambda _: None)
    assert [t.status for t in report.theorems] == [TheoremStatus.PROVED, TheoremStatus.REJECTED]
