"""Benchmarks of the agent, each a versioned folder, and the Lean that each of them needs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from prover.errors import InputError

if TYPE_CHECKING:
    from eval.benchmarks.base import Benchmark
    from prover.lean.install import Progress
    from prover.lean.toolchain import LeanCommand

NAMES = ("library", "minif2f", "leandojo")


def load_benchmark(name: str, statements: Path | None, mathlib: Path | None) -> Benchmark:
    """Return a benchmark by its name.

    Args:
        statements: the data of a benchmark that is not in this repository (minif2f, leandojo).
        mathlib: a Lake project with Mathlib, for a benchmark that uses it (minif2f), or the checkout of the
            benchmark's repository (leandojo); None: do without.

    Raises:
        InputError: there is none of this name, or it needs something else than what is given.
    """
    match name:
        case "minif2f":
            if statements is None:
                raise InputError(
                    "minif2f's data is not in this project: give --statements, a JSONL or a checkout"
                )
            from eval.benchmarks.minif2f import MiniF2F

            return MiniF2F(statements, mathlib is not None)
        case "leandojo":
            if statements is None or mathlib is None:
                raise InputError(
                    "leandojo needs --statements, the folder of LeanDojo's benchmark, and --mathlib, a built "
                    "checkout of its repository at the benchmark's commit"
                )
            from eval.benchmarks.leandojo import LeanDojoBenchmark

            return LeanDojoBenchmark(statements, mathlib)
        case "library" if statements or mathlib:
            raise InputError("--statements and --mathlib are for minif2f and leandojo: leave them out")
        case "library":
            from eval.benchmarks.library import Library

            return Library()
    raise InputError(f"there is no benchmark {name!r}: choose one of {', '.join(NAMES)}")


def lean_of(mathlib: Path | None, progress: Progress | None = None, sandbox: bool = True) -> LeanCommand:
    """Return the Lean that attempts run in: the Lake project's, or the embedded one without a project.

    Raises:
        InputError: it is no Lake project, or ``lake`` is not on the PATH.
        LeanUnavailable: the embedded Lean cannot be installed, or the project's cannot be run.
    """
    from prover.lean.toolchain import Kind, choose_lean, find_project

    if mathlib is None:
        return choose_lean(None, Kind.EMBEDDED, progress)
    inside = mathlib / "Problem.lean"
    if find_project(inside) is None:
        raise InputError(f"--mathlib {mathlib} is no Lake project: name the folder with its lakefile")
    if shutil.which("lake") is None:
        raise InputError("--mathlib needs `lake` on the PATH: install Lean with elan")
    return choose_lean(inside, None, progress, sandbox)
