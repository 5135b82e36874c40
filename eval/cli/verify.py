"""``prover eval verify RUN``: check every proof of a run again in a fresh Lean.

prover eval verify RUN [--statements STATEMENTS.jsonl]
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from prover.errors import InputError, ProverError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--statements", type=click.Path(path_type=Path), help="As for the run (minif2f).")
@click.option("--mathlib", type=click.Path(path_type=Path), help="As for the run (minif2f).")
def verify(run: Path, statements: Path | None, mathlib: Path | None) -> None:
    """Check every proof of a run again, many in one fresh Lean process; exit code 1 when one is refused."""
    try:
        refused = asyncio.run(_verify(run, statements, mathlib))
    except ProverError as error:
        click.echo(f"prover: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 3)
    sys.exit(1 if refused else 0)


async def _verify(run: Path, statements: Path | None, mathlib: Path | None) -> int:
    from eval.benchmarks import load_benchmark
    from eval.benchmarks.base import Split
    from eval.recheck import recheck
    from eval.store import read_plan, read_records
    from prover.lean.toolchain import choose_lean

    plan, records = read_plan(run), read_records(run)
    problems = load_benchmark(plan.benchmark, statements, mathlib).problems(Split(plan.split))
    command = choose_lean(mathlib, None if mathlib else "embedded")
    start = time.monotonic()
    checked = await recheck(command, records, problems, lambda one: _show(one.record.problem, one.reason))
    refused = sum(bool(one.reason) for one in checked)
    seconds = time.monotonic() - start
    click.echo(f"{len(checked) - refused} of {len(checked)} proofs accepted by a fresh Lean, {seconds:.0f} s")
    return refused


def _show(problem: str, reason: str) -> None:
    if reason:
        click.echo(f"REFUSED {problem}: {reason}")
