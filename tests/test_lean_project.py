"""`lean_project/` is a Lake project that fetches nothing, beside one that needs Mathlib."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from prover.lean.toolchain import find_project
from prover.lean.version import RECOMMENDED
from prover.theorem_file import imports_of, read_theorem_file

PROJECT = Path(__file__).parents[1] / "lean_project"
WITH_MATHLIB = PROJECT / "WithMathlib"


def lakefile(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "lakefile.toml").read_text())


def modules(folder: Path, globs: list[str]) -> list[Path]:
    (root,) = [re.fullmatch(r"(\w+)\.\+", glob) for glob in globs]
    assert root is not None
    return sorted((folder / root[1]).rglob("*.lean"))


def test_plain_use_fetches_nothing() -> None:
    assert "require" not in lakefile(PROJECT)
    assert json.loads((PROJECT / "lake-manifest.json").read_text())["packages"] == []
    (examples,) = [lib for lib in lakefile(PROJECT)["lean_lib"] if lib["name"] == "Examples"]
    for file in modules(PROJECT, examples["globs"]):
        assert not [name for name in imports_of(file.read_text()) if name.startswith("Mathlib")]


def test_every_target_is_there() -> None:
    for folder in (PROJECT, WITH_MATHLIB):
        found = lakefile(folder)
        targets = [target["name"] for kind in ("lean_lib", "lean_exe") for target in found.get(kind, ())]
        assert set(found["defaultTargets"]) <= set(targets)
    (program,) = lakefile(PROJECT)["lean_exe"]
    assert (PROJECT / f"{program['root'].replace('.', '/')}.lean").is_file()


def test_mathlib_is_that_of_the_toolchain() -> None:
    toolchains = {(folder / "lean-toolchain").read_text() for folder in (PROJECT, WITH_MATHLIB)}
    assert toolchains == {f"leanprover/lean4:v{RECOMMENDED}\n"}
    required = {package["name"]: package for package in lakefile(WITH_MATHLIB)["require"]}
    assert required["mathlib"]["rev"] == f"v{RECOMMENDED}"
    assert (WITH_MATHLIB / required["lean_project"]["path"]).resolve() == PROJECT


def test_the_examples_with_mathlib_are_a_project_of_their_own() -> None:
    (library,) = lakefile(WITH_MATHLIB)["lean_lib"]
    files = modules(WITH_MATHLIB, library["globs"])
    assert files
    for file in files:
        assert find_project(file) == WITH_MATHLIB
        source = read_theorem_file(file)
        assert any(name.startswith("Mathlib") for name in imports_of(source.text))
        assert "sorry" in source.text
