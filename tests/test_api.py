"""The agent as a library: ten lines of the README, questions to a started Lean, and what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import prover
from prover import InputError, Prover, SuggestedOutcome, TheoremStatus
from prover.decoder.options import DecoderOptions
from prover.reports import Options
from tests.decoder.tiny import tiny_checkpoint

README = Path(__file__).parents[1] / "README.md"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, prover; print(sorted(m for m in sys.modules if m.startswith(('prover.', 'torch'))))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


def test_all_names_are_there() -> None:
    assert all(getattr(prover, name) for name in prover.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = prover.nothing


async def test_one_that_is_not_started_says_so() -> None:
    with pytest.raises(InputError, match="async with"):
        await Prover().prove("True")


@pytest.mark.lean
def test_the_readme_proves_a_theorem(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 12
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert said.startswith("proved (") and " proves\n" in said


@pytest.mark.lean
async def test_questions_to_one_started_lean() -> None:
    async with Prover() as asked:
        report = await asked.prove("theorem t (p q : Prop) (h : p ∧ q) : q ∧ p")
        assert report.status is TheoremStatus.PROVED and report.proof
        given = await asked.prove_source(
            "theorem a : 1 + 1 = 2 := by sorry\ntheorem b : False := by sorry\n", timeout=5
        )
        assert [it.status for it in given.theorems] == [TheoremStatus.PROVED, TheoremStatus.NOT_PROVED]
        assert given.output and "sorry" in given.output and given.output.count("sorry") == 1
        found = await asked.suggest("α : Type u_1\nx y : α\nh : x = y\n⊢ y = x", limit=6)
        assert found[0].outcome is SuggestedOutcome.PROVES
        assert [it.outcome for it in found] == sorted(
            (it.outcome for it in found), key=list(SuggestedOutcome).index
        )
        with pytest.raises(InputError, match=r"unknown|Unknown"):
            await asked.prove("nonsense + 1 = 2")


async def test_only_what_has_a_memory_can_be_looked_up_in(tmp_path: Path) -> None:
    options = Options(decoder=DecoderOptions(model=str(tiny_checkpoint(tmp_path)), device="cpu"))
    with pytest.raises(InputError, match="has no memory layer"):
        await Prover(options).look_up("⊢ True")
