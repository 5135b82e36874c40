"""``prover memory``: what a decoder with a memory layer has read.

    prover memory build                     read the library (once for a model and a Lean; takes minutes)
    prover memory build FILE|FOLDER...      read what your own files declare
    prover memory info                      what there is
    prover memory query "a b : Nat ⊢ a + b = b + a"     which declarations a goal looks up
    prover memory verify                    hold what is on the disk against its checksums

Exit codes: 0 done, 2 the input is at fault, 3 Lean or the machine is, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prover.cli.lean_options import sandbox_option, tell_warnings
from prover.cli.telling import TellingGroup, exit_code, tell
from prover.errors import InputError

if TYPE_CHECKING:
    from memory.building import Built
    from prover.decoder.checkpoint import LoadedModel
    from prover.errors import ProverError
    from prover.premises import PremiseCorpus, Report


class _MemoryGroup(TellingGroup):
    interrupted = "Interrupted; `prover memory build` goes on from there."


_model = click.option(
    "--model", default="", metavar="MODEL", help="A checkpoint's folder or a hub id (default: our own)."
)
_device = click.option("--device", default="", metavar="DEVICE", help="cpu, cuda ... (default: a GPU).")
_threads = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Of the processor (default: as torch likes)."
)
_json = click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
_folder = click.option(
    "--at",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the memory (default: in the cache).",
)


@click.group(cls=_MemoryGroup, name="memory", context_settings={"help_option_names": ["-h", "--help"]})
def memory() -> None:
    """Build the memory of a decoder that has a memory layer, and look into it."""


# --- build ------------------------------------------------------------------------------------------


@memory.command(context_settings={"max_content_width": 100})
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[FILE|FOLDER]...")
@_model
@_device
@_threads
@click.option("--lean", metavar="embedded|PATH", help="Which Lean (default: as `prove` chooses).")
@sandbox_option
@click.option(
    "--premises",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The library's declarations (default: those in the cache, or else Lean lists them).",
)
def build(
    files: tuple[Path, ...], premises: Path | None, lean: str | None, sandbox: bool, **options: Any
) -> None:
    """Read the library into memory; or with FILE, what these files declare.

    What is there already is not read again. A build that was broken off goes on where it was.
    """
    from prover.cli.progress import Progress
    from prover.reports import Stage

    if files and premises:
        raise click.UsageError("--premises is for the library: leave it out with files")
    with Progress(verbose=False) as progress:

        def report(text: str, done: int, total: int) -> None:
            progress.on_event(Stage(text, done, total))

        report("Loading the decoder", 0, 0)
        loaded = _loaded(**options)
        if files:
            lines, faults = _build_files(loaded, files, lean, report, sandbox)
        else:
            lines, faults = [_build_library(loaded, premises, lean, report, sandbox)], []
    click.echo("\n".join(lines))
    for fault in faults:
        tell(fault)
    if faults:
        sys.exit(max(map(exit_code, faults)))


def _loaded(model: str, device: str, threads: int | None) -> LoadedModel:
    """The model, if it has a memory layer."""
    from prover.decoder.checkpoint import load_checkpoint
    from prover.decoder.options import SHIPPED_CHECKPOINT
    from prover.recall.library import kind_of

    if threads:
        import torch

        torch.set_num_threads(threads)
    loaded = load_checkpoint(model or str(SHIPPED_CHECKPOINT), device or None)
    kind_of(loaded)
    return loaded


def _build_library(
    loaded: LoadedModel, premises: Path | None, lean: str | None, report: Report, sandbox: bool
) -> str:
    import asyncio

    from prover.premises import PremiseCorpus
    from prover.recall.library import build_library, kind_of, memory_folder
    from prover.settings import settings

    corpus = PremiseCorpus.load(premises) if premises else asyncio.run(_listed_library(lean, report, sandbox))
    folder = memory_folder(settings().cache, kind_of(loaded)[0], corpus.lean)
    return _summary(folder, build_library(loaded, corpus, folder, report))


async def _listed_library(lean: str | None, report: Report, sandbox: bool) -> PremiseCorpus:
    from prover.lean.pool import LeanPool
    from prover.lean.toolchain import choose_lean
    from prover.premises import library_corpus

    command = choose_lean(None, lean, report, sandbox)
    tell_warnings([command])
    report(f"Starting {command.description}", 0, 0)
    async with LeanPool(command, 1, spares=0) as pool:
        return await library_corpus(pool, report)


def _build_files(
    loaded: LoadedModel, paths: tuple[Path, ...], lean: str | None, report: Report, sandbox: bool
) -> tuple[list[str], list[ProverError]]:
    import asyncio

    from prover.lean.toolchain import choose_lean
    from prover.recall.declared import declared_by, lean_files
    from prover.recall.library import add_files, kind_of, memory_folder
    from prover.settings import settings

    lines: list[str] = []
    faults: list[ProverError] = []
    files = lean_files(paths)
    tell_warnings(choose_lean(file, lean, report, sandbox) for file in files)
    for found in asyncio.run(declared_by(files, lean, report, sandbox)):
        folder = memory_folder(settings().cache, kind_of(loaded)[0], found.lean)
        lines.append(_summary(folder, add_files(loaded, found.files, folder, report)))
        faults += found.faults
    return lines, faults


def _summary(folder: Path, built: Built) -> str:
    parts = (f"{built.read} modules read", f"{built.kept} were there", f"{built.dropped} dropped")
    return f"{folder}: {', '.join(parts)}"


# --- info and verify --------------------------------------------------------------------------------


@memory.command()
@_model
@_folder
@_json
def info(model: str, folder: Path | None, as_json: bool) -> None:
    """Say what the memories hold, and whether they are MODEL's."""
    from prover.cli.memory_show import as_text, inspect
    from prover.decoder.checkpoint import load_checkpoint
    from prover.decoder.options import SHIPPED_CHECKPOINT

    folders = _folders(folder)
    loaded = load_checkpoint(model or str(SHIPPED_CHECKPOINT), "cpu")
    found = [inspect(it, loaded) for it in folders]
    click.echo(
        json.dumps(found, ensure_ascii=False, indent=2) if as_json else "\n\n".join(map(as_text, found))
    )


@memory.command()
@_folder
def verify(folder: Path | None) -> None:
    """Read memories again, and hold them against their checksums."""
    from prover.cli.memory_show import check

    for it in _folders(folder):
        check(it)
        click.echo(f"{it}: as it was written")


def _folders(folder: Path | None) -> list[Path]:
    """The memory that was named, or all in the cache."""
    from prover.recall.library import memory_folders
    from prover.settings import settings

    if folder is not None:
        return [folder]
    found = memory_folders(settings().cache)
    if not found:
        raise InputError("There is no memory yet: `prover memory build` reads the library into one.")
    return found


# --- query ------------------------------------------------------------------------------------------


@memory.command(context_settings={"max_content_width": 100})
@click.argument("goal")
@click.option(
    "--tactic", metavar="PREFIX", help="What has been said of a tactic (default: what a name comes after)."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Shown of each list."
)
@click.option("--modules", metavar="NAME,...", help="Only of these modules, and of those below them.")
@_model
@_device
@_threads
@_folder
@_json
def query(
    goal: str,
    tactic: str | None,
    top: int,
    modules: str | None,
    folder: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say which declarations are looked up at GOAL.

    GOAL is as Lean prints it, hypotheses and ⊢ target; a bare target will do.
    """
    from prover.cli.memory_show import looked_as_json, looked_as_text
    from prover.cli.show import printable
    from prover.recall.library import LibraryMemory, folder_of, kind_of
    from prover.recall.looking import look
    from prover.settings import settings

    loaded = _loaded(**options)
    kind = kind_of(loaded)[0]
    chosen = folder or folder_of(settings().cache, kind)
    with LibraryMemory.open(chosen, kind, loaded.model.device) as library:
        wanted = None if modules is None else library.modules_below(modules.split(","))
        found = look(loaded, library, goal, tactic, wanted)
    if as_json:
        click.echo(json.dumps(looked_as_json(found, top), ensure_ascii=False, indent=2))
    else:
        click.echo(printable(looked_as_text(found, top)))
