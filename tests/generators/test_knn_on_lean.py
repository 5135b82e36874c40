"""The kNN generator on real Lean: it proves what takes a lemma by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from prover.generators.knn import KNN
from prover.lean.messages import Source
from prover.lean.pool import LeanPool
from prover.lean_environment import LeanDojo, open_file
from prover.premises import read_corpus
from prover.search.best_first import Budget, SearchStatus, best_first_search

SOURCE = """\
def twice (n : Nat) : Nat := n + n
theorem twice_eq (n : Nat) : twice n = 2 * n := by unfold twice; omega
theorem by_library (a b c : Nat) (h : a ∣ b) : a ∣ c * b := by sorry
theorem by_own (m : Nat) : twice (m + 1) = 2 * (m + 1) := by sorry
"""


@pytest.mark.lean
@pytest.mark.asyncio(loop_scope="session")
async def test_lemmas_of_the_library_and_of_the_file(lean_pool: LeanPool) -> None:
    process = await lean_pool.acquire()
    try:
        corpus = await read_corpus(process, "4.0", ("Init.Data.Nat.Dvd",), lambda *_: None)
    finally:
        await lean_pool.release(process)
    generator = KNN(corpus)
    async with open_file(lean_pool, Source("Own", str(Path("Own.lean")), SOURCE)) as file:
        for index, own in enumerate(({"twice", "twice_eq"}, {"twice", "twice_eq", "by_library"})):
            scope = await file.scope(index)
            assert scope.modules and "Init.Data.Nat.Dvd" in scope.modules
            assert {declaration.name for declaration in scope.own} == own
            result = await best_first_search(
                LeanDojo(file, index), generator, Budget(10, 300, 60.0), scope=scope
            )
            assert result.status is SearchStatus.PROVED
