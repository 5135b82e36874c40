"""Proves the miniF2F statements that can be expressed without Mathlib.

    python -m eval.minif2f STATEMENTS.jsonl --timeout 60 --max-expansions 100 --out RESULTS.jsonl

The header of each statement is replaced by core notations; a statement that does not elaborate under it is
reported as *not expressible*. All proofs found are put into one file, which a fresh Lean has to accept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from prover.agent import prove_file
from prover.errors import InputError, ProverError
from prover.generators import make_generator
from prover.lean.messages import OpenRequest, Severity, Source, Status
from prover.lean.pool import LeanPool
from prover.lean.toolchain import choose_lean
from prover.lean_environment import OPEN_SECONDS
from prover.reports import Event, FileReport, Finished, Options, Started, TheoremStatus
from prover.theorem_file import TheoremFile

#: In place of ``import Mathlib``: what its notations stand for in core Lean.
CORE_HEADER = """\
set_option autoImplicit false
notation "ℕ" => Nat
notation "ℤ" => Int
open Nat
"""


def read_statements(path: Path) -> dict[str, str]:
    """Read a JSONL of ``name`` and ``statement`` fields.

    Raises:
        InputError: it cannot be read, or a line has not these fields.
    """
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {record["name"]: record["statement"] for record in records}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no JSONL of objects with 'name' and 'statement': {error!r}") from error


async def expressible(pool: LeanPool, statements: dict[str, str]) -> list[str]:
    """Return the names of the statements that elaborate under the core header."""
    process = await pool.acquire()
    try:
        found = []
        for name, statement in statements.items():
            source = Source("MiniF2F", f"{name}.lean", CORE_HEADER + statement)
            answer = await process.ask(OpenRequest(source), OPEN_SECONDS)
            errors = answer.status is not Status.OK or any(
                m.severity is Severity.ERROR for m in answer.messages
            )
            if not errors:
                found.append(name)
        return found
    finally:
        await pool.release(process)


def report_event(event: Event) -> None:
    match event:
        case Started(theorem, index, total):
            click.echo(f"[{index}/{total}] {theorem}", err=True)
        case Finished(report):
            click.echo(f"{report.status:12} {report.seconds:6.1f} s  {report.name}", err=True)
        case _:
            pass


async def run(path: Path, options: Options) -> tuple[FileReport, int, int]:
    """Return the report on the expressible statements, how many those are, and how many there are."""
    statements = read_statements(path)
    command = choose_lean(None, "embedded", lambda text, done, total: None)
    async with LeanPool(command, options.workers) as pool:
        names = await expressible(pool, statements)
        text = "\n\n".join([CORE_HEADER, *(statements[name] for name in names)]) + "\n"
        file = TheoremFile(Path("minif2f.lean"), text)
        report = await prove_file(file, pool, make_generator(options.generator), options, report_event)
    return report, len(names), len(statements)


@click.command()
@click.argument("statements", type=click.Path(path_type=Path))
@click.option("--timeout", default=60.0, show_default=True, help="Seconds a theorem.")
@click.option("--max-expansions", default=100, show_default=True)
@click.option("--generator", default="portfolio", show_default=True)
@click.option("--workers", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="One JSON record a theorem.")
def main(
    statements: Path,
    timeout: float,
    max_expansions: int,
    generator: str,
    workers: int,
    seed: int,
    out: Path | None,
) -> None:
    """Prove the miniF2F statements that can be expressed without Mathlib."""
    options = Options(timeout, max_expansions, 100_000, workers, seed, generator, "embedded", ())
    start = time.monotonic()
    try:
        report, expressed, total = asyncio.run(run(statements, options))
    except ProverError as error:
        click.echo(str(error), err=True)
        sys.exit(2 if isinstance(error, InputError) else 3)
    if out is not None:
        lines = [json.dumps({**asdict(t), "tree": None}, ensure_ascii=False) for t in report.theorems]
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if report.output is not None:
            out.with_suffix(".lean").write_text(report.output, encoding="utf-8")
    counts = Counter(theorem.status for theorem in report.theorems)
    click.echo(f"{total} statements, {expressed} expressible in core Lean, {total - expressed} not")
    click.echo(", ".join(f"{counts[status]} {status}" for status in TheoremStatus if counts[status]))
    click.echo(f"{sum(t.tactics for t in report.theorems)} tactics, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
