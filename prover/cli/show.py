"""What `prove` prints when the work is done: results on standard output, remarks on standard error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from prover.lean.messages import Severity
from prover.reports import CheckReport, FileReport, TheoremReport, TheoremStatus

_WORDS = {
    TheoremStatus.PROVED: "proved",
    TheoremStatus.NOT_PROVED: "not proved",
    TheoremStatus.SKIPPED: "skipped",
    TheoremStatus.CRASHED: "Lean failed",
    TheoremStatus.REJECTED: "rejected by the final check",
}


def printable(text: str) -> str:
    """Replace control characters, so that no file can play tricks on a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def outcome(report: TheoremReport) -> str:
    """One line on a theorem: where it is, what became of it, at what cost."""
    place = f"{report.file}:{report.line}:{report.column}"
    cost = f"{report.tactics} tactics, {report.seconds:.1f} s"
    why = f": {report.message}" if report.message else ""
    return printable(f"{place} {report.name or 'example'}: {_WORDS[report.status]} ({cost}){why}")


def proofs(reports: Sequence[FileReport], *, as_json: bool) -> None:
    """Print every theorem's outcome, as Lean text to paste or as JSON lines."""
    for report in reports:
        for theorem in report.theorems:
            if as_json:
                click.echo(json.dumps(_record(theorem), ensure_ascii=False))
            else:
                comment = "\n".join(f"-- {line}" for line in outcome(theorem).splitlines())
                click.echo("\n".join([comment, *(f"  {line}" for line in theorem.proof or ()), ""]))


def _record(theorem: TheoremReport) -> dict[str, Any]:
    return {field.name: getattr(theorem, field.name) for field in fields(theorem) if field.name != "tree"}


def summary(reports: Sequence[FileReport], written: Sequence[Path | None], *, interrupted: bool) -> None:
    """Say on standard error how many are proved, and where the files are."""
    counts = Counter(theorem.status for report in reports for theorem in report.theorems)
    total = counts.total()
    if interrupted:
        click.echo("Interrupted; this is what there was.", err=True)
    elif total == 0:
        click.echo("Nothing to prove: there is no sorry.", err=True)
    others = [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]]
    if total:
        click.echo(f"{counts[TheoremStatus.PROVED]} of {total} proved ({', '.join(others)}).", err=True)
    for path in written:
        if path is not None:
            click.echo(f"Written: {path}", err=True)


def verdicts(report: CheckReport, *, as_json: bool) -> None:
    """Print what the check found, declaration by declaration, then what Lean has against the file."""
    for verdict in report.verdicts:
        if as_json:
            record = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
            click.echo(json.dumps({"file": report.path, **record}, ensure_ascii=False))
        else:
            word = "accepted" if verdict.accepted else f"REJECTED: {verdict.reason}"
            click.echo(printable(f"{verdict.name or 'example'}: {word}"))
    for message in report.messages:
        if message.severity is Severity.ERROR:
            place = f"{report.path}:{message.position.line}:{message.position.column}"
            click.echo(printable(f"{place}: error: {message.text}"), err=True)
    refusal = f"REJECTED: {report.fault}" if report.fault else "REJECTED"
    click.echo(printable(f"{report.path}: {'accepted' if report.accepted else refusal}"), err=True)
