"""A theorem proved through LeanDojo's own Python code, and what becomes of LeanDojo's trouble."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lean_dojo", reason="LeanDojo is not installed", exc_type=ImportError)

from prover.environment import CrashKind, LeanError, ProofFinished, TacticCrash, TacticState
from prover.errors import InputError, LeanUnavailable
from prover.generators.portfolio import Portfolio
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand
from prover.leandojo.environment import opened_theorem
from prover.leandojo.package import theorem_of
from prover.leandojo.proving import DojoStatus, lean_of, locate, prove_theorem
from prover.search.best_first import Budget
from tests.leandojo.traced import FILE, make_lake, make_repository, trace

REPL = Path(__file__).with_name("repl.py")
NO_SERVER = (Path("/"), ["/bin/false"])
ROOT = '{"sid": 0, "tacticState": "n : Nat\\nh : 4 ≤ n\\n⊢ 2 ≤ n", "error": null}'


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that is traced, in a cache of its own."""
    from lean_dojo.data_extraction import cache, lean
    from lean_dojo.data_extraction import trace as tracing

    own = cache.Cache(tmp_path / "cache")
    for module, name in ((cache, "cache"), (lean, "repo_cache"), (tracing, "cache")):
        monkeypatch.setattr(module, name, own)
    monkeypatch.setattr(cache, "DISABLE_REMOTE_CACHE", True)
    folder = tmp_path / "sums"
    commit = make_repository(folder)
    traced = own.cache_dir / f"gitpython-sums-{commit}"
    traced.mkdir()
    trace(folder, traced / "sums")
    return folder


def with_lake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answering: Sequence[str], server: Any = NO_SERVER
) -> None:
    programs = make_lake(folder / "toolchain", server, answering)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)


def with_answers(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A Lean that runs a Python script after it has shown the goal."""
    program = folder / "answers.py"
    shown = f"print('REPL> ' + {ROOT!r}, flush=True)"
    program.write_text(f"import os, sys, time\n{shown}\n{script}\n")
    with_lake(folder, monkeypatch, [sys.executable, str(program)])


@pytest.fixture
async def toolchain_pool(
    repository: Path, embedded_command: LeanCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LeanPool]:
    """The repository's Lean: a scripted toolchain, behind which the embedded one answers."""
    home, argv = embedded_command.cwd, embedded_command.tactic_server_argv()
    assert home is not None
    with_lake(tmp_path, monkeypatch, [sys.executable, str(REPL)], (home, argv))
    async with LeanPool(lean_of(theorem(repository, "swap"), sandbox=False), size=1, spares=0) as pool:
        yield pool


def theorem(repository: Path, name: str) -> Any:
    return theorem_of(str(repository), "", Path(FILE), name)


# --- a real Lean --------------------------------------------------------------------------------------


@pytest.mark.lean
async def test_a_theorem_is_proved_through_lean_dojo(repository: Path, toolchain_pool: LeanPool) -> None:
    budget = Budget(expansions=20, seconds=120)
    report = await prove_theorem(theorem(repository, "both"), toolchain_pool, Portfolio(), budget, seconds=60)
    assert report.status is DojoStatus.PROVED, report
    assert report.proof and report.result.counts.tactics > 0
    assert not list(repository.parent.glob("cache/*/sums/Sums?*.lean"))  # its own copy of the file is gone


@pytest.mark.lean
async def test_states_are_those_of_lean(repository: Path, toolchain_pool: LeanPool) -> None:
    async with opened_theorem(theorem(repository, "both"), seconds=60) as dojo:
        (goal,) = dojo.root.goals
        assert [h.name for h in goal.hypotheses] == ["p", "q", "hp", "hq"] and goal.target == "p ∧ q"
        assert goal.head == "And"
        left = (await dojo.run_tac(dojo.root, "constructor")).result
        assert isinstance(left, TacticState) and [g.target for g in left.goals] == ["p", "q"]
        assert isinstance((await dojo.run_tac(left, "exact hq")).result, LeanError)
        right = (await dojo.run_tac(left, "exact hp")).result
        assert isinstance(right, TacticState) and [g.target for g in right.goals] == ["q"]
        dojo._lose()  # its process is gone, and all states with it
        assert isinstance((await dojo.run_tac(right, "exact hq")).result, ProofFinished)


# --- the verdict ----------------------------------------------------------------------------------------


def test_a_proof_is_put_in_place_of_the_one_that_is_there(repository: Path) -> None:
    source = locate(theorem(repository, "swap")).source(["omega", "skip"])
    assert "theorem swap (a b : Nat) : a + b = b + a := by\n  omega\n  skip\ntheorem both" in source.text
    assert "by omega\n\ntheorem swap" in source.text and "Nat.add_comm" not in source.text


# --- trouble ----------------------------------------------------------------------------------------------


async def test_a_process_that_dies_is_a_crash_and_the_next_one_goes_on(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = """
for line in sys.stdin:
    if "die" in line:
        os._exit(3)
    print('REPL> {"sid": 1, "tacticState": "no goals", "error": null}', flush=True)
"""
    with_answers(tmp_path, monkeypatch, dead)
    async with opened_theorem(theorem(repository, "two_le")) as dojo:
        crash = (await dojo.run_tac(dojo.root, "die")).result
        assert isinstance(crash, TacticCrash) and crash.kind is CrashKind.DIED and dojo.crashes == 2
        assert isinstance((await dojo.run_tac(dojo.root, "omega")).result, ProofFinished)


async def test_garbage_is_a_crash(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_answers(tmp_path, monkeypatch, "for line in sys.stdin:\n    print('REPL> {garbage', flush=True)")
    async with opened_theorem(theorem(repository, "two_le")) as dojo:
        crash = (await dojo.run_tac(dojo.root, "omega")).result
        assert isinstance(crash, TacticCrash) and crash.kind is CrashKind.GARBAGE


async def test_an_answer_of_another_shape_is_garbage(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_answers(tmp_path, monkeypatch, "for line in sys.stdin:\n    print('REPL> {\"sid\": 7}', flush=True)")
    async with opened_theorem(theorem(repository, "two_le")) as dojo:
        crash = (await dojo.run_tac(dojo.root, "omega")).result
        assert isinstance(crash, TacticCrash) and crash.kind is CrashKind.GARBAGE


async def test_a_tactic_that_hangs_is_a_timeout_and_its_process_is_exchanged(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = """
for line in sys.stdin:
    if "hang" in line:
        time.sleep(60)
    print('REPL> {"sid": null, "tacticState": null, "error": "unsolved"}', flush=True)
"""
    with_answers(tmp_path, monkeypatch, slow)
    async with opened_theorem(theorem(repository, "two_le"), seconds=1.0) as dojo:
        crash = (await dojo.run_tac(dojo.root, "hang")).result
        assert isinstance(crash, TacticCrash) and crash.kind is CrashKind.TIMEOUT and dojo.crashes == 1
        assert (await dojo.run_tac(dojo.root, "omega")).result == LeanError("unsolved")


async def test_a_tactic_that_gives_up_or_is_too_long_fails(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorry = 'REPL> {"sid": null, "tacticState": null, "error": "proof contains `sorry`"}'
    with_answers(tmp_path, monkeypatch, f"for line in sys.stdin:\n    print({sorry!r}, flush=True)")
    async with opened_theorem(theorem(repository, "two_le")) as dojo:
        for tactic in ("sorry", "exact " + "x" * 5000):
            assert isinstance((await dojo.run_tac(dojo.root, tactic)).result, LeanError)
        assert dojo.crashes == 0


async def test_a_lean_that_never_gets_to_the_theorem_is_unavailable(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lake(tmp_path, monkeypatch, ["/bin/echo", "error: unknown package"])
    with pytest.raises(LeanUnavailable, match="two_le: LeanDojo did not get Lean to the theorem"):
        async with opened_theorem(theorem(repository, "two_le")):
            pass


async def test_no_lake_is_told(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only").mkdir()
    git = next(p for p in os.environ["PATH"].split(os.pathsep) if (Path(p) / "git").exists())
    (tmp_path / "only" / "git").symlink_to(Path(git) / "git")
    it = theorem(repository, "two_le")
    monkeypatch.setenv("PATH", str(tmp_path / "only"))
    with pytest.raises(LeanUnavailable, match="cannot start Lean"):
        async with opened_theorem(it):
            pass


async def test_what_is_not_there_is_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Failed to locate the theorem"):
        async with opened_theorem(theorem(repository, "nothing")):
            pass
    with pytest.raises(InputError, match="was not traced"):
        async with opened_theorem(theorem_of(str(repository), "", Path("Other.lean"), "x")):
            pass
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no Lean repository"):
        theorem_of(str(tmp_path / "none"), "", Path(FILE), "x")


async def test_a_repository_that_was_not_traced_is_told_and_not_traced(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    with_lake(tmp_path, monkeypatch, ["/bin/sh", "-c", f"touch {ran}"])
    make_repository(tmp_path / "untraced")
    it = theorem(tmp_path / "untraced", "two_le")
    with pytest.raises(InputError, match=r"was not traced .*lean_dojo\.trace"):
        async with opened_theorem(it):
            pass
    with pytest.raises(InputError, match="was not traced"):
        locate(it)
    assert not ran.exists()
