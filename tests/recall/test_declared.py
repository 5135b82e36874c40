"""What the user's files declare, with a scripted Lean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prover.errors import InputError, LeanUnavailable
from prover.lean.messages import DeclarationsRequest, InfoRequest, OpenRequest, Request
from prover.recall.declared import Declared, lean_files, list_files
from tests.recall.scripted_lean import ScriptedPool, dies


def quiet(text: str, done: int, total: int) -> None:
    pass


def write(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.lean").write_text(text)
    return [folder / f"{name}.lean" for name in texts]


async def listed(paths: Sequence[Path], pool: ScriptedPool | None = None) -> Declared:
    chosen: Any = pool or ScriptedPool()
    async with chosen:
        return await list_files(chosen, paths, quiet)


def names(found: Declared) -> dict[str, list[str]]:
    return {module: [it.name for it in declared] for module, declared in found.files.items()}


async def test_a_file_declares_what_is_proved_and_written_by_a_person(tmp_path: Path) -> None:
    text = (
        "theorem a : p\ntheorem b : q := sorry\ndefinition c : Nat\n"
        "recursor D.rec : r\ntheorem e.eq_1 : s\ntheorem f : x   ∧  y\n"
    )
    found = await listed(write(tmp_path, My=text))
    assert names(found) == {"My": ["a", "c", "f"]}
    assert (found.lean, found.faults) == ("4.9.0, commit 12ab", ())
    last = found.files["My"][-1]
    assert (last.module, last.kind, last.type) == ("My", "theorem", "x ∧ y")


async def test_what_the_files_below_declare_is_theirs(tmp_path: Path) -> None:
    texts = {
        "Base": "theorem base : p",
        "Middle": "import Base\ntheorem middle : p",
        "Top": "import Init\nimport Middle\ntheorem top : p",
    }
    paths = write(tmp_path, **texts)
    assert names(await listed(paths)) == {"Base": ["base"], "Middle": ["middle"], "Top": ["top"]}
    assert names(await listed(paths[2:])) == {"Top": ["top"]}


async def test_a_file_at_fault_costs_the_others_nothing(tmp_path: Path) -> None:
    paths = write(tmp_path, Good="theorem a : p", Bad="error", Other="theorem b : p")
    found = await listed([*paths, tmp_path / "Missing.lean"])
    assert names(found) == {"Good": ["a"], "Other": ["b"]}
    bad, missing = map(str, found.faults)
    assert "Bad.lean does not compile" in bad and "Missing.lean: no such file" in missing


async def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    paths = [*write(tmp_path / "one", Main="theorem a : p"), *write(tmp_path / "other", Main="theorem b : p")]
    found = await listed(paths)
    assert names(found) == {"Main": ["a"]}
    assert "there is another file Main" in str(found.faults[0])


@pytest.mark.parametrize("at", [OpenRequest, DeclarationsRequest])
async def test_a_lean_that_dies_is_a_fault_of_the_file(at: type[Request], tmp_path: Path) -> None:
    found = await listed(write(tmp_path, A="theorem a : p"), ScriptedPool(dies(at)))
    assert found.files == {}
    assert isinstance(found.faults[0], LeanUnavailable) and "A.lean: Lean" in str(found.faults[0])


async def test_a_lean_that_dies_at_once_is_told(tmp_path: Path) -> None:
    with pytest.raises(LeanUnavailable, match="being asked what it is"):
        await listed(write(tmp_path, A="theorem a : p"), ScriptedPool(dies(InfoRequest)))


def test_folders_hold_their_files(tmp_path: Path) -> None:
    (tmp_path / "Sub").mkdir()
    (tmp_path / ".lake" / "packages").mkdir(parents=True)
    (tmp_path / ".lake" / "packages" / "Hidden.lean").touch()
    paths = [*write(tmp_path, A="", B="", lakefile=""), *write(tmp_path / "Sub", C="")]
    expected = [paths[0], paths[1], paths[3]]
    assert lean_files([tmp_path]) == expected
    assert lean_files([paths[1], tmp_path]) == [paths[1], paths[0], paths[3]]
    # A folder is not hidden because it lies in one that is.
    assert lean_files([tmp_path / ".lake" / "packages"]) == [tmp_path / ".lake" / "packages" / "Hidden.lean"]
    (tmp_path / "Empty").mkdir()
    with pytest.raises(InputError, match="Empty holds no Lean files"):
        lean_files([tmp_path / "Empty"])
