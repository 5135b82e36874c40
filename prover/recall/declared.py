"""What the user's own files declare, as Lean says when it has elaborated them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from prover.errors import InputError, LeanUnavailable, ProverError
from prover.lean.messages import Declaration, DeclarationsRequest, InfoRequest, Source, Status
from prover.lean.pool import LeanPool
from prover.lean.process import ProcessFailure
from prover.lean.toolchain import choose_lean, mounts_of
from prover.lean_environment import open_file
from prover.premises import Report, is_generated
from prover.theorem_file import imports_of, project_sources, read_theorem_file

#: Declarations asked for at a time, and the seconds that may take.
_WINDOW, _SECONDS = 500, 120.0


@dataclass(frozen=True, slots=True)
class Declared:
    """What files declare that run under one Lean."""

    lean: str
    #: By the file's module name.
    files: dict[str, tuple[Declaration, ...]]
    #: What is wrong with the others.
    faults: tuple[ProverError, ...]


def lean_files(paths: Sequence[Path]) -> list[Path]:
    """The Lean files that are named, and those below the folders that are; what is hidden is left out.

    Raises:
        InputError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        below = _below(path) if path.is_dir() else [path]
        if not below:
            raise InputError(f"{path} holds no Lean files: name a file or a folder that does")
        found += below
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[Path]:
    there = ((file, file.relative_to(folder).parts) for file in folder.rglob("*.lean"))
    shown = (file for file, parts in there if not any(part.startswith(".") for part in parts))
    return sorted(file for file in shown if file.name != "lakefile.lean")


async def declared_by(
    paths: Sequence[Path], lean: str | None, report: Report, sandbox: bool = True
) -> list[Declared]:
    """List what files declare; one that is at fault costs the others nothing.

    Args:
        lean: as :func:`prover.lean.toolchain.choose_lean` takes it.
        sandbox: likewise.

    Raises:
        InputError: there is no such Lean.
        LeanUnavailable: Lean cannot be installed or started.
    """
    found = []
    for command, together in groupby(paths, lambda path: choose_lean(path, lean, report, sandbox)):
        files = list(together)
        report(f"Starting {command.description}", 0, 0)
        async with LeanPool(command, 1, spares=0, mounts=mounts_of(files)) as pool:
            found.append(await list_files(pool, files, report))
    return found


async def list_files(pool: LeanPool, paths: Sequence[Path], report: Report) -> Declared:
    """List what files declare under a pool's Lean; a theorem without its proof is no declaration yet.

    Raises:
        LeanUnavailable: Lean cannot be started.
    """
    files: dict[str, tuple[Declaration, ...]] = {}
    faults: list[ProverError] = []
    lean = await lean_of(pool)
    for done, path in enumerate(paths):
        report("Reading declarations", done, len(paths))
        try:
            module, declarations = await _list_file(pool, path)
            if module in files:
                raise InputError(f"{path}: there is another file {module}; build them one after the other")
            files[module] = declarations
        except ProverError as fault:
            faults.append(fault)
    return Declared(lean, files, tuple(faults))


async def lean_of(pool: LeanPool) -> str:
    """The version of a pool's Lean.

    Raises:
        LeanUnavailable: it cannot be started, or fails at once.
    """
    process = await pool.acquire()
    try:
        return str((await process.ask(InfoRequest(), _SECONDS)).body["lean"])
    except ProcessFailure as failure:
        raise LeanUnavailable(f"Lean did not survive being asked what it is.\n{failure}") from failure
    finally:
        await pool.release(process)


async def _list_file(pool: LeanPool, path: Path) -> tuple[str, tuple[Declaration, ...]]:
    """A file's module name, and its declarations as declared there."""
    source, dependencies = read_theorem_file(path).source(), project_sources(path)
    declared = await _list_source(pool, source, dependencies)
    if dependencies:
        # Lean takes what is declared by the project's files below for the file's own.
        bare = "".join(f"import {module}\n" for module in imports_of(source.text))
        below = await _list_source(pool, Source(source.name, source.path, bare), dependencies)
        theirs = {it.name for it in below}
        declared = [it for it in declared if it.name not in theirs]
    return source.name, tuple(_declared_in(source.name, it) for it in declared)


async def _list_source(pool: LeanPool, source: Source, dependencies: Sequence[Source]) -> list[Declaration]:
    async with open_file(pool, source, dependencies) as file, file.worker(None) as worker:
        unproved = {sorry.declaration for sorry in file.sorries}
        found: list[Declaration] = []
        start: int | None = 0
        while start is not None:
            try:
                answer = await worker.process.ask(DeclarationsRequest(start, _WINDOW, ""), _SECONDS)
            except ProcessFailure as failure:
                raise LeanUnavailable(
                    f"{source.path}: Lean failed over its declarations.\n{failure}"
                ) from failure
            if answer.status is not Status.OK:
                raise LeanUnavailable(f"{source.path}: Lean cannot list its declarations: {answer.error}")
            found += answer.declarations
            start = answer.body["next"]
    return [it for it in found if it.name not in unproved and not is_generated(it.name)]


def _declared_in(module: str, it: Declaration) -> Declaration:
    return Declaration(it.name, it.kind, module, " ".join(it.type.split()), it.constants)
