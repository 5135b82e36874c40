"""``prover eval extract``: read the library from Lean, once; and write the ``library`` benchmark anew.

prover eval extract            read the library; say whether the benchmark's files still fit it
prover eval extract --write    write the files anew (a new version of the benchmark)
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prover.premises import PremiseCorpus


@click.command()
@click.option("--write", is_flag=True, help="Write the benchmark's files anew.")
def extract(write: bool) -> None:
    """Read the Lean library's declarations (2 minutes, once) and hold the benchmark against them."""
    from eval.benchmarks.library import FOLDER
    from eval.benchmarks.library.extract import differing_files, write_files

    corpus = asyncio.run(_corpus())
    click.echo(f"Lean {corpus.lean}: {len(corpus.premises)} declarations in {len(corpus.modules)} modules")
    differing = differing_files(corpus, FOLDER)
    if write:
        write_files(corpus, FOLDER)
    verb = "written anew" if write else "not as they would be made from this Lean"
    click.echo(f"{', '.join(differing)}: {verb}" if differing else "The benchmark's files fit this Lean.")
    sys.exit(1 if differing and not write else 0)


async def _corpus() -> PremiseCorpus:
    from prover.cli.progress import Progress
    from prover.lean.pool import LeanPool
    from prover.lean.toolchain import choose_lean
    from prover.premises import library_corpus
    from prover.reports import Stage

    with Progress(verbose=False) as progress:

        def report(text: str, done: int, total: int) -> None:
            progress.on_event(Stage(text, done, total))

        async with LeanPool(choose_lean(None, "embedded", report), 1, spares=0) as pool:
            return await library_corpus(pool, report)
