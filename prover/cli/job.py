"""What `prove` does between its command line and its exit code."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from prover.cli import show
from prover.cli.arguments import Arguments
from prover.cli.interrupt import run_interruptibly
from prover.cli.lean_options import tell_warnings
from prover.cli.progress import Progress
from prover.errors import InputError, ProverError
from prover.lean import toolchain
from prover.reports import FileReport, Options, Stage, TheoremStatus
from prover.theorem_file import read_theorem_file, write_atomically

_ALL_PROVED, _SOME_NOT, _INPUT_AT_FAULT, _LEAN_AT_FAULT = range(4)
_LEAN_GIB = 4


def run(arguments: Arguments) -> int:
    """Do what the command line asks for, and return the exit code; errors are printed, not raised."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character must not cost a result.
            stream.reconfigure(errors="backslashreplace")
    try:
        return _check(arguments) if arguments.check else _prove(arguments)
    except ProverError as error:
        _say_fault(error)
        return _fault_code(error)


def _say_fault(error: ProverError) -> None:
    click.echo(f"prove: {show.printable(str(error))}", err=True)


def _fault_code(error: ProverError) -> int:
    return _INPUT_AT_FAULT if isinstance(error, InputError) else _LEAN_AT_FAULT


# --- proving ----------------------------------------------------------------------------------------


def _prove(given: Arguments) -> int:
    from prover import agent

    options = _options(given)
    before = {path: read_theorem_file(path).raw for path in given.files}
    with Progress(verbose=given.verbose) as progress:
        _install_lean(given, progress)
        if given.statement is not None:
            work = _one(agent.prove_statement(given.statement, options, progress.on_event))
        else:
            work = agent.prove_files(given.files, options, progress.on_event)
        reports, interrupted = run_interruptibly(work)
    if reports is None:
        click.echo("Interrupted: nothing was proved yet.", err=True)
        return _SOME_NOT
    written = [_write(report, given, before) for report in reports]
    if given.tree:
        _write_trees(reports, given.tree)
    faults = [report.fault for report in reports if report.fault is not None]
    if len(faults) < len(reports):
        show.proofs(reports, as_json=given.as_json)
        show.summary(reports, written, interrupted=interrupted)
    for fault in faults:
        _say_fault(fault)
    if faults:
        return max(_fault_code(fault) for fault in faults)
    proved = all(t.status is TheoremStatus.PROVED for report in reports for t in report.theorems)
    return _ALL_PROVED if proved and not interrupted else _SOME_NOT


def _install_lean(given: Arguments, progress: Progress) -> None:
    """Install what Lean the work will need, before there is an event loop: here Ctrl-C ends a download."""

    def report(text: str, done: int, total: int) -> None:
        progress.on_event(Stage(text, done, total))

    paths = given.files or (given.check,)
    chosen = [toolchain.choose_lean(path, given.lean, report, given.sandbox) for path in paths]
    tell_warnings(chosen, "prove")


async def _one(work: Coroutine[Any, Any, FileReport]) -> list[FileReport]:
    return [await work]


def _options(given: Arguments) -> Options:
    return Options(
        timeout=given.timeout,
        max_expansions=given.max_expansions,
        max_tactics=given.max_tactics,
        workers=given.workers or _default_workers(),
        seed=given.seed,
        generator=given.generator,
        length_exponent=given.length_exponent,
        lean=given.lean,
        theorems=given.theorems,
        decoder=given.decoder,
        remember=given.remember,
        sandbox=given.sandbox,
    )


def _default_workers() -> int:
    """Every second core, as far as the memory reaches, with a spare process in mind."""
    import psutil

    room = psutil.virtual_memory().available // (_LEAN_GIB * 1024**3) - 1
    return int(max(1, min((os.cpu_count() or 1) // 2, room, 8)))


# --- what is written --------------------------------------------------------------------------------


def _write(report: FileReport, given: Arguments, before: dict[Path, str]) -> Path | None:
    """Write the file with its proofs, if it has any, and return where."""
    if report.output is None:
        return None
    path = Path(report.path)
    target = given.output or (path if given.in_place else _proved(path)) if given.files else given.output
    if target is None:
        return None
    if given.in_place and read_theorem_file(path).raw != before.get(path):
        target = _proved(path)
        click.echo(f"{path} was changed meanwhile and is left alone: see {target}", err=True)
    write_atomically(target, report.output.encode())
    return target


def _proved(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".lean") + ".proved.lean")


def _write_trees(reports: list[FileReport], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--tree {folder}: {error.strerror}") from error
    for report in reports:
        for theorem in report.theorems:
            if theorem.tree is not None:
                name = re.sub(r"[^\w.'-]", "_", theorem.name or "example")[:100]
                place = f"{Path(report.path).stem}.{theorem.line}.{theorem.column}.{name}.json"
                text = json.dumps(theorem.tree, ensure_ascii=False, indent=1)
                write_atomically(folder / place, text.encode())


# --- checking ---------------------------------------------------------------------------------------


def _check(given: Arguments) -> int:
    from prover import agent

    assert given.check is not None and given.against is not None
    for path in (given.check, given.against):
        read_theorem_file(path)
    with Progress(verbose=given.verbose) as progress:
        _install_lean(given, progress)
        work = agent.check_file(given.check, given.against, _options(given), progress.on_event)
        report, _ = run_interruptibly(work)
    if report is None:
        click.echo("Interrupted: nothing was checked.", err=True)
        return _SOME_NOT
    show.verdicts(report, as_json=given.as_json)
    return _ALL_PROVED if report.accepted else _SOME_NOT
