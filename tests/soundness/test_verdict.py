"""The verdict on files that lie (``attacks/``) and on honest ones (``controls/``), read by a real Lean.

Each ``.lean`` file holds cases: an original, a candidate and, for an attack, a part of the reason for which
it is refused (``*``: whatever Lean says first). They share one process; :func:`verify` takes a fresh one.
"""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from prover.lean.messages import CheckRequest, OpenRequest, Source, Status, Verdict
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess
from prover.verify import CHECK_SECONDS, Verification, verify

pytestmark = [pytest.mark.lean, pytest.mark.asyncio(loop_scope="session")]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    original: str
    candidate: str
    #: Part of the reason of an attack's refusal; "" for a control.
    refused: str


def read_cases(folder: str) -> list[Case]:
    """Read all cases of a folder, in the order of its files."""
    return [
        case
        for path in sorted((HERE / folder).glob("*.lean"))
        for case in map(read_case, path.read_text(encoding="utf-8").split("-- case: ")[1:])
    ]


def read_case(text: str) -> Case:
    name, rest = text.split("\n-- original\n")
    original, rest = rest.split("-- candidate\n")
    candidate, _, refused = rest.partition("-- refused: ")
    return Case(name, original, candidate, refused.strip())


def parameters(folder: str) -> list[object]:
    """Make a test of each case."""
    return [pytest.param(case, id=case.name.replace(" ", "-")) for case in read_cases(folder)]


def source(text: str) -> Source:
    return Source("Main", "Main.lean", text)


@pytest_asyncio.fixture(loop_scope="session")
async def lean(lean_pool: LeanPool) -> AsyncIterator[LeanProcess]:
    """The process that the last test gave back: what a case does to it is part of the test of the next."""
    process = await lean_pool.acquire()
    yield process
    await lean_pool.release(process)


async def judge(lean: LeanProcess, case: Case) -> Verification:
    """Do what :func:`verify` does, in a process that has been used before."""
    answer = await lean.ask(CheckRequest(source(case.original), source(case.candidate)), CHECK_SECONDS)
    assert answer.status is Status.OK, answer
    return Verification(answer.verdicts, answer.messages, answer.error)


def reasons(verification: Verification) -> list[str]:
    return [verification.fault, *(verdict.reason for verdict in verification.verdicts)]


@pytest.mark.parametrize("case", parameters("attacks"))
async def test_attack_is_refused(lean: LeanProcess, case: Case) -> None:
    verification = await judge(lean, case)
    assert not verification.accepted, verification
    assert case.refused == "*" or any(case.refused in reason for reason in reasons(verification)), (
        verification
    )


@pytest.mark.parametrize("case", parameters("controls"))
async def test_honest_file_is_accepted(lean: LeanProcess, case: Case) -> None:
    verification = await judge(lean, case)
    assert verification.accepted, verification
    assert not verification.errors
    opened = await lean.ask(OpenRequest(source(case.original)), CHECK_SECONDS)
    for declaration in {sorry.declaration for sorry in opened.sorries}:
        assert verification.verdict(declaration).accepted, (declaration, verification)


# --- through verify() and the command line ----------------------------------------------------------

ORIGINAL = "theorem t (p q : Prop) : p ∧ q → q ∧ p := sorry\n"
HONEST = "theorem t (p q : Prop) : p ∧ q → q ∧ p := fun h => ⟨h.2, h.1⟩\n"
LIE = "theorem t (p q : Prop) : p ∧ q → q ∧ p := by intro; first | omega | sorry\n"


async def test_a_fresh_process_accepts_an_honest_file(lean_pool: LeanPool) -> None:
    verification = await verify(lean_pool, source(ORIGINAL), source(HONEST))
    assert verification.accepted, verification
    assert verification.verdict("t").axioms == ()


async def test_a_candidate_that_ends_the_process_is_refused(lean_pool: LeanPool) -> None:
    candidate = HONEST + "#eval (IO.Process.exit 0 : IO Unit)\n"
    verification = await verify(lean_pool, source(ORIGINAL), source(candidate))
    assert not verification.accepted
    assert "did not survive" in verification.fault
    assert not verification.verdict("t").accepted


async def test_an_original_that_does_not_compile_is_no_verdict(lean: LeanProcess) -> None:
    request = CheckRequest(source("theorem t : nonsense := sorry\n"), source(HONEST))
    answer = await lean.ask(request, CHECK_SECONDS)
    assert answer.status is Status.BAD_REQUEST
    assert "original does not compile" in answer.error


async def test_no_evidence_is_a_refusal() -> None:
    nothing = Verification((), (), "")
    assert not nothing.accepted
    assert not nothing.verdict("t").accepted
    fault = Verification((Verdict("t", True, "", ()),), (), "the file has errors")
    assert not fault.accepted


async def test_command_line_tells_by_its_exit_code(tmp_path: Path) -> None:
    original, finished = tmp_path / "T.lean", tmp_path / "T.proved.lean"
    original.write_text(ORIGINAL, encoding="utf-8")
    finished.write_text(LIE, encoding="utf-8")
    program = "from prover.cli.prove import main; main()"
    arguments = ["--check", str(finished), "--against", str(original), "--lean", "embedded"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 1, output.decode()
    assert "sorry" in output.decode()


async def test_the_documentation_lists_every_attack() -> None:
    chapter = (HERE.parents[1] / "docs" / "soundness.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- `(.+)`$", chapter, re.MULTILINE)
    assert listed == [case.name.replace(" ", "-") for case in read_cases("attacks")]
