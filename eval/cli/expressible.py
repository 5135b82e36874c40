"""``prover eval expressible``: what of miniF2F can be expressed without Mathlib, and why not the rest."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.benchmarks.base import Split

if TYPE_CHECKING:
    from eval.benchmarks.base import Problem
    from eval.benchmarks.minif2f.expressible import Expressibility


@click.command()
@click.argument("benchmark", type=click.Choice(["minif2f"]))
@click.option("--statements", type=click.Path(path_type=Path), required=True, help="A JSONL or a checkout.")
@click.option("--split", type=click.Choice(["valid", "test"]), default="valid", show_default=True)
@click.option("--names", is_flag=True, help="Name the statements that are not expressible.")
def expressible(benchmark: str, statements: Path, split: str, names: bool) -> None:
    """Say which statements elaborate without Mathlib, and Lean's first error for the others."""
    from eval.benchmarks.minif2f import MiniF2F
    from eval.benchmarks.minif2f.expressible import by_reason

    found = asyncio.run(_find(MiniF2F(statements, mathlib=False).problems(Split(split))))
    for reason, which in by_reason(found):
        click.echo(f"{len(which):4}  {reason}")
        if names:
            click.echo("".join(f"      {name}\n" for name in which), nl=False)
    failed = sum(bool(one.error) for one in found)
    click.echo(
        f"{len(found) - failed} of {len(found)} {split} statements of {benchmark} expressible, {failed} not"
    )


async def _find(problems: list[Problem]) -> list[Expressibility]:
    from eval.benchmarks.minif2f.expressible import expressible as judge
    from prover.lean.pool import LeanPool
    from prover.lean.toolchain import choose_lean

    found = []
    async with LeanPool(choose_lean(None, "embedded"), size=1, spares=0) as pool:
        with click.progressbar(length=len(problems), file=sys.stderr) as bar:
            async for one in judge(pool, problems):
                found.append(one)
                bar.update(1)
    return found
