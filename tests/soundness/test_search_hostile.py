"""A hostile generator: its tactics reach the real tactic server, and nothing of it is ever proved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from prover.agent import prove_file
from prover.generators.base import Candidate, Query
from prover.lean.messages import InfoRequest, OpenRequest, RunRequest, Source, Status
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess
from prover.reports import Options, TheoremStatus
from prover.theorem_file import TheoremFile

pytestmark = [pytest.mark.lean, pytest.mark.asyncio(loop_scope="session")]

SECONDS = 60.0
#: False goals, one of them with a tactic of the file's own that helps itself with a sorry.
FILE = """\
theorem wrong (n : Nat) : n = n + 1 := by sorry

theorem exists_wrong : ∃ n : Nat, n ≠ n := by sorry

macro "finish" : tactic => `(tactic| first | done | sorry)

theorem by_macro (a b : Nat) (h : a < b) : b < a := by sorry
"""

ATTACKS = [
    "sorry",
    "admit",
    "stop",
    "exact sorry",
    "exact sorryAx _ false",
    "exact sorryAx _ true",
    "exact (sorryAx False false).elim",
    "first | sorry",
    "first | omega | sorry",
    "try sorry",
    "(sorry; skip)",
    "(skip; sorry)",
    "all_goals sorry",
    "any_goals sorry",
    "iterate 1 sorry",
    "repeat sorry",
    "case' _ => sorry",
    "case _ => sorry",
    "· sorry",
    "next => sorry",
    "have h : False := by sorry",
    "have h : False := sorry",
    "suffices h : False from h.elim\n  sorry",
    "show_term sorry",
    "nomatch (sorry : False)",
    "exact (by sorry)",
    "exact (fun h : False => h.elim) sorry",
    "finish",
    "skip; finish",
    "apply?",
    "exact?",
    "native_decide",
    "decide +native",
    "decide",
    "simp +decide [sorryAx]",
    "exact lcProof",
    "exact lcUnreachable",
    "exact unsafeCast trivial",
    "exact (unsafe lcProof)",
    "exact Lean.ofReduceBool true true rfl",
    "exact wrong _",
    "exact exists_wrong",
    "exact by_macro ..",
    "simp [wrong]",
    "simpa using wrong _",
    "exact ‹_›",
    "assumption",
    "exact ?_",
    "refine ?_",
    "refine ?goal\n  case goal => skip",
    "exact ?oops",
    "apply False.elim\n  exact ?_",
    "exact @id _ ?x",
    "exists ?n",
    "refine ⟨?n, ?h⟩ <;> skip",
    "trivial\naxiom cheat : False",
    "skip\n\naxiom cheat : False\n\ntheorem other : False := by\n  exact cheat.elim",
    "skip\nend\ntheorem other : True := by trivial",
    "skip\n#eval 1",
    "skip /-",
    "skip -- ",
    "skip -/",
    "/- skip -/",
    ") skip (",
    "exact (",
    "exact ⟨",
    "exact «",
    'exact "',
    "",
    " ",
    "\n",
    "\0",
    "skip\r\nsorry",
    "run_tac Lean.Elab.Tactic.setGoals []",
    "set_option debug.skipKernelTC true in decide",
    "set_option warn.sorry false in sorry",
    "open Classical in sorry",
    "exact by_elab return .const ``True.intro []",
    "exact True.intro",
    "error_recovery",
    "simp (config := { failIfUnchanged := false }); sorry",
    "intro h; exact absurd rfl h",
    "unfold wrong",
    "exact (let rec f : False := f; f).elim",
    "exact False.elim (let rec f (n : Nat) : False := f (n + 1); f 0)",
    "exact False.elim (have : False := this; this)",
    "exact (inferInstance : Inhabited False).default.elim",
    "as_aux_lemma => sorry",
    "exact (show False from by as_aux_lemma => sorry).elim",
]

#: Without those that search the whole library.
QUICK = [tactic for tactic in ATTACKS if tactic not in ("apply?", "exact?")]


# --- the tactic server --------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def lean(lean_pool: LeanPool) -> AsyncIterator[LeanProcess]:
    process = await lean_pool.acquire()
    yield process
    await lean_pool.release(process)


async def roots(lean: LeanProcess) -> list[int]:
    answer = await lean.ask(OpenRequest(Source("Hostile", "Hostile.lean", FILE)), SECONDS)
    assert len(answer.sorries) == 3
    return [sorry.state for sorry in answer.sorries]


async def test_no_attack_proves_anything_by_itself(lean: LeanProcess) -> None:
    proved = []
    for number, state in enumerate(await roots(lean)):
        for tactic in ATTACKS if number == 0 else QUICK:
            answer = await lean.ask(RunRequest(state, tactic), SECONDS)
            if answer.status is Status.PROVED:
                proved.append((state, tactic))
            assert answer.status in (Status.PROVED, Status.OK, Status.TACTIC_FAILED), (tactic, answer)
    assert not proved


async def test_no_attack_proves_anything_after_another(lean: LeanProcess) -> None:
    """What an attack leaves behind (lemmas, goals, options) is no help to the next one."""
    openings = ["have h : False := ?_", "exfalso"]
    for root in await roots(lean):
        for opening in openings:
            state = await lean.ask(RunRequest(root, opening), SECONDS)
            assert state.status is Status.OK
            for tactic in QUICK:
                answer = await lean.ask(RunRequest(state.state, tactic), SECONDS)
                assert answer.status is not Status.PROVED, (opening, tactic)


async def test_the_same_process_still_tells_true_from_false(lean: LeanProcess) -> None:
    text = "theorem t (n : Nat) : n < n + 1 := by sorry\n"
    answer = await lean.ask(OpenRequest(Source("Honest", "Honest.lean", text)), SECONDS)
    state = answer.sorries[0].state
    assert (await lean.ask(RunRequest(state, "omega"), SECONDS)).status is Status.PROVED
    assert (await lean.ask(RunRequest(state, "rfl; omega"), SECONDS)).status is Status.TACTIC_FAILED
    assert (await lean.ask(InfoRequest(), SECONDS)).status is Status.OK


# --- the whole agent ----------------------------------------------------------------------------------


class Hostile:
    """Proposes every attack at every state, and claims to be certain."""

    name = "hostile"

    async def generate(self, queries: Sequence[Query]) -> list[list[Candidate]]:
        return [[Candidate(tactic, 0.0) for tactic in ATTACKS] for _ in queries]


async def test_the_agent_proves_nothing_with_a_hostile_generator(lean_pool: LeanPool) -> None:
    options = Options(
        timeout=30.0,
        max_expansions=3,
        max_tactics=300,
        workers=1,
        seed=0,
        generator="hostile",
        lean=None,
        theorems=(),
    )
    file = TheoremFile(Path("Hostile.lean"), FILE)
    report = await prove_file(file, lean_pool, Hostile(), options, lambda event: None)
    assert len(report.theorems) == 3
    assert all(theorem.status is not TheoremStatus.PROVED for theorem in report.theorems), report
