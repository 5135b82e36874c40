"""A toolchain's Lean: which version it is, what it needs to read, and how it is confined."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prover.errors import LeanUnavailable
from prover.lean.sandbox import Confinement, confine, limits_for, unconfined
from prover.lean.version import RECOMMENDED, LeanVersion, is_possible, objection, parse_version
from prover.settings import environment_for_lean, settings

#: What makes a folder a Lake project.
PROJECT_FILES = ("lakefile.lean", "lakefile.toml", "lean-toolchain")
#: Lake reads the project's configuration first, and elan may want to fetch a toolchain.
_VERSION_SECONDS = 60.0
_TOLD_LINES = 5


@dataclass(frozen=True, slots=True)
class NativeLean:
    """A Lean that has said which it is."""

    #: What stands before the arguments of ``lean``.
    prefix: tuple[str, ...]
    #: Its whole environment; None is our own.
    env: Mapping[str, str] | None
    version: LeanVersion
    #: So many processes may belong to it; None: nobody counts.
    process_limit: int | None
    #: What a person should know, a sentence or two each.
    warnings: tuple[str, ...]


def native_lean(program: Sequence[str], project: Path | None, memory: int, sandbox: bool) -> NativeLean:
    """Confine a toolchain's Lean and ask it which it is.

    Args:
        program: what starts it: the path of ``lean``, or ``lake env lean``.
        project: the Lake project that it runs in.
        memory: bytes that it may hold.
        sandbox: whether it runs in one, where there is one.

    Raises:
        LeanUnavailable: it does not say which it is, or the tactic server cannot run under it.
    """
    confinement = unconfined()
    if sandbox:
        confinement = confine(_readable(Path(program[0]), project), project, limits_for(memory))
    prefix, env = (*confinement.prefix, *program), confinement.env
    version = _version(prefix, program[0], project, None if env is None else tuple(env.items()))
    if not is_possible(version):
        raise LeanUnavailable(f"{' '.join(program)}: {objection(version)}")
    limits = confinement.limits
    return NativeLean(
        prefix=prefix,
        env=env,
        version=version,
        process_limit=limits.processes if limits else None,
        warnings=tuple(_warnings(program, confinement, version)),
    )


def _warnings(program: Sequence[str], confinement: Confinement, version: LeanVersion) -> Iterator[str]:
    if text := objection(version):
        yield f"{' '.join(program)}: {text}"
    if confinement.warning:
        yield confinement.warning


# --- what it needs to read --------------------------------------------------------------------------


def _readable(program: Path, project: Path | None) -> list[Path]:
    """The folders that it needs beside its project: of the toolchain, of packages, and the tactic server."""
    env = environment_for_lean()
    lake_cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lake"
    return [
        _toolchain_folder(program),
        *(_packages(project) if project else ()),
        settings().cache / "server",
        Path(env.get("LAKE_CACHE_DIR") or lake_cache),
        *(Path(folder) for folder in env.get("LEAN_PATH", "").split(os.pathsep) if folder),
        *settings().readable,
    ]


def _toolchain_folder(program: Path) -> Path:
    """The toolchain that a program belongs to; the program alone where it belongs to none."""
    folder = program.resolve().parent.parent
    return folder if (folder / "lib" / "lean").is_dir() else program


def _packages(project: Path) -> list[Path]:
    """The packages of a Lake project that may lie elsewhere: path dependencies, and links."""
    found = [(project / name).resolve() for name in _path_dependencies(project / "lake-manifest.json")]
    with suppress(OSError):
        found += [path.resolve() for path in (project / ".lake" / "packages").iterdir()]
    # Only what is a Lake package: a manifest must not open a person's other folders.
    return [folder for folder in found if any((folder / name).is_file() for name in PROJECT_FILES)]


def _path_dependencies(manifest: Path) -> list[str]:
    try:
        packages = json.loads(manifest.read_text(encoding="utf-8"))["packages"]
        return [str(package["dir"]) for package in packages if package["type"] == "path"]
    except (OSError, ValueError, KeyError, TypeError):  # Lake itself says what is wrong with it
        return []


# --- which it is ------------------------------------------------------------------------------------


@cache
def _version(
    lean: tuple[str, ...], program: str, folder: Path | None, env: tuple[tuple[str, str], ...] | None
) -> LeanVersion:
    """Ask a Lean which it is; once, because Lake takes its time.

    Raises:
        LeanUnavailable: it does not say.
    """
    code, said = _run([*lean, "--version"], folder, None if env is None else dict(env))
    version = parse_version(said) if code == 0 else None
    if version is None:
        raise LeanUnavailable(_no_version(program, folder, code, said))
    return version


def _run(argv: Sequence[str], folder: Path | None, env: Mapping[str, str] | None) -> tuple[int | None, str]:
    """Run a command: its exit code, None when it took too long, and what it said."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        return 127, str(error)
    with process:
        try:
            said, _ = process.communicate(timeout=_VERSION_SECONDS)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, ""


def _no_version(program: str, folder: Path | None, code: int | None, said: str) -> str:
    if code is None:
        what = f"it gave no answer in {_VERSION_SECONDS:.0f} s"
    else:
        what = f"it ended with exit code {code}" + "".join(
            f"\n  {line}" for line in said.splitlines()[:_TOLD_LINES]
        )
    return (
        f"{program}{f' in {folder}' if folder else ''} does not say which Lean it runs: {what}\n"
        "In the sandbox elan cannot fetch a toolchain, nor Lake a package: run `lake build` in the project "
        f"by hand first (or `elan toolchain install leanprover/lean4:v{RECOMMENDED}`). Folders that it lacks "
        "can be named in LEAN_PROVER_READABLE; --no-sandbox gives it all rights that you have. Or take "
        "--lean embedded, which has no Mathlib."
    )
