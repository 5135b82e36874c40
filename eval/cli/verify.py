"""``prover eval verify RUN``: check every proof of a run again in a fresh Lean.

prover eval verify RUN [--statements STATEMENTS.jsonl]
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from prover.cli.lean_options import sandbox_option, tell_warnings


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--statements", type=click.Path(path_type=Path), help="As for the run (minif2f).")
@click.option("--mathlib", type=click.Path(path_type=Path), help="As for the run (minif2f).")
@sandbox_option
def verify(run: Path, statements: Path | None, mathlib: Path | None, sandbox: bool) -> None:
    """Check every proof of a run again, many in one fresh Lean process; exit code 1 when one is refused."""
    sys.exit(1 if asyncio.run(_verify(run, statements, mathlib, sandbox)) else 0)


async def _verify(run: Path, statements: Path | None, mathlib: Path | None, sandbox: bool) -> int:
    from eval.benchmarks import lean_of, load_benchmark
    from eval.benchmarks.base import Split
    from eval.recheck import recheck
    from eval.store import read_plan, read_records
    plan, records = read_plan(run), read_records(run)
    problems = load_benchmark(plan.benchmark, statements, mathlib).problems(Split(plan.split))
    command = lean_of(mathlib, sandbox=sandbox)
    tell_warnings([command])
    start = time.monotonic()
    checked = await recheck(command, records, problems, lambda one: _show(one.record.problem, one.reason))
    refused = sum(bool(one.reason) for one in checked)
    seconds = time.monotonic() - start
    click.echo(f"{len(checked) - refused} of {len(checked)} proofs accepted by a fresh Lean, {seconds:.0f} s")
    return refused


def _show(problem: str, reason: str) -> None:
    if reason:
        click.echo(f"REFUSED {problem}: {reason}")
