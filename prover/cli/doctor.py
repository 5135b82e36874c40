"""What `prover doctor` finds; it installs nothing, changes nothing, and no missing part is an error."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from prover import __version__
from prover.decoder.options import SHIPPED_CHECKPOINT, recipe_of
from prover.errors import ProverError
from prover.lean.install import find_node, installed_embedded
from prover.lean.sandbox import isolation_of
from prover.lean.toolchain import EMBEDDED_VERSION
from prover.lean.version import objection, parse_version
from prover.settings import GIB, settings

#: Section, then what was looked for, then what was found.
Findings = dict[str, dict[str, str]]

_PACKAGES = ("torch", "transformers", "faiss-cpu", "faiss-gpu", "lean-dojo", "vllm", "ray")


def findings() -> Findings:
    """Look at everything; takes about a second."""
    return {
        "prover": {"version": __version__, "python": f"{platform.python_version()}, {sys.executable}"},
        "machine": _machine(),
        "lean": {
            "embedded": _or_error(_embedded),
            "node": _or_error(_node),
            "lake": _program("lake"),
            "lean": _lean(),
            "sandbox": _sandbox(),
        },
        "decoder": {"shipped": _decoder()},
        "disk": {"cache": _or_error(_cache)},
        "packages": {name: _package(name) for name in _PACKAGES},
    }


def as_table(found: Findings) -> str:
    """Lay the findings out in two columns."""
    width = max(len(name) for section in found.values() for name in section)
    lines = []
    for title, section in found.items():
        lines += ["", title, *(f"  {name:<{width}}  {value}" for name, value in section.items())]
    return "\n".join(lines[1:])


def _machine() -> dict[str, str]:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB of it free",
        "gpu": _gpu(),
    }


def _or_error(look: Callable[[], str]) -> str:
    try:
        return look()
    except ProverError as error:
        return str(error)


def _embedded() -> str:
    lean = installed_embedded()
    if lean is None:
        return f"Lean {EMBEDDED_VERSION}, not installed yet (prove does it at need, or: prover install)"
    size = sum(file.stat().st_size for file in lean.home.rglob("*") if file.is_file())
    return f"Lean {EMBEDDED_VERSION}, {size / 1024**2:.0f} MiB in {lean.home}"


def _node() -> str:
    node = find_node()
    return f"{node.version}, {node.executable}"


def _decoder() -> str:
    if not (SHIPPED_CHECKPOINT / "config.json").exists():
        return "no checkpoint in this installation"
    recipe = recipe_of("")
    return f"asked by {recipe.get('form', 'no form of ours')}, {SHIPPED_CHECKPOINT}"


def _cache() -> str:
    cache = settings().cache
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return f"{cache}, {shutil.disk_usage(there).free / GIB:.1f} GiB free"


def _program(name: str) -> str:
    path = shutil.which(name)
    return f"{_said(path, '--version')}, {path}" if path else "not on the PATH"


def _lean() -> str:
    """The Lean on the PATH, and what is known of the tactic server under it."""
    found = _program("lean")
    version = parse_version(found)
    return f"{found}; {objection(version)}" if version and objection(version) else found


def _sandbox() -> str:
    """What keeps a toolchain's Lean from doing harm; the embedded one needs nothing."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "none for a toolchain's Lean: bubblewrap (bwrap) is not on the PATH"
    _, reason = isolation_of(bwrap)
    if reason:
        return f"none for a toolchain's Lean: bubblewrap does not work here ({reason}), {bwrap}"
    return f"{_said(bwrap, '--version')}, {bwrap}"


def _gpu() -> str:
    path = shutil.which("nvidia-smi")
    if path is None:
        return "none (no nvidia-smi)"
    return _said(path, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


def _said(*command: str) -> str:
    """Return what a program printed, on one line, or why it did not."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=20, cwd=Path.home()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run ({error})"
    text = "; ".join((result.stdout if result.returncode == 0 else result.stderr).split("\n")).strip("; ")
    return text if result.returncode == 0 else f"fails with code {result.returncode} ({text[:200]})"


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
