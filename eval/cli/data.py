"""``prover data``: make proofs to learn from, by proving (expert iteration over the training theorems).

    prover data collect STORE --rounds 5                    search training theorems, keep what is proved
    prover data collect STORE --generator portfolio+knn+decoder --model CHECKPOINT
    prover data synthesize STORE --count 10000              mutations of library theorems
    prover data add STORE RUN|CORPUS|BENCHMARK...           runs on train, exports, LeanDojo's proofs
    prover data status STORE
    prover data export STORE --out corpus.jsonl.xz          what `prover train` reads

A store grows; broken off in whatever way, it holds what was finished by then.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from prover.cli.decoder_options import decoder_options
from prover.cli.telling import TellingGroup

_proofs = click.option(
    "--proofs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Kept of a theorem; with more than one, searches go on after their first.",
)
_store = click.argument("store", type=click.Path(path_type=Path, dir_okay=False))


@click.group(cls=TellingGroup, name="data", context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make proofs to learn from."""


@main.command(context_settings={"max_content_width": 100})
@_store
@click.option("--rounds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    default=3000,
    show_default=True,
    metavar="N",
    help="Theorems a round.",
)
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), metavar="H", help="No round begins after that."
)
@click.option(
    "--generator", default="portfolio+knn", show_default=True, metavar="NAME", help="What proposes tactics."
)
@click.option("--expansions", type=click.IntRange(min=1), default=8, show_default=True, metavar="N")
@click.option("--tactics", type=click.IntRange(min=1), default=64, show_default=True, metavar="N")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=8.0, show_default=True, metavar="S"
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@_proofs
@decoder_options
def collect(store: Path, **given: Any) -> None:
    """Search training theorems, and keep proofs and failures in STORE.

    A round takes new theorems, and those that an earlier round nearly or only just proved.
    """
    from eval.cli.data_job import collect_rounds

    sys.exit(collect_rounds(store, **given))


@main.command()
@_store
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N")
@_proofs
def synthesize(store: Path, **given: Any) -> None:
    """Make theorems from those of the library, and keep those that a plan proves."""
    from eval.cli.data_job import synthesize_theorems

    sys.exit(synthesize_theorems(store, **given))


@main.command()
@_store
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|CORPUS|BENCHMARK..."
)
def add(store: Path, sources: tuple[Path, ...]) -> None:
    """Take over the attempts of evaluation runs on the train split, and corpora as `export` wrote them.

    Of LeanDojo's benchmark, a folder with corpus.jsonl in it, come the proofs of its train split.
    """
    from eval.cli.data_job import add_source

    for source in sources:
        click.echo(f"{source}: {add_source(store, source)} added")


@main.command()
@_store
def status(store: Path) -> None:
    """Say what STORE holds."""
    from eval.cli.data_job import table

    click.echo(table(store))


@main.command()
@_store
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE")
@click.option(
    "--failures/--no-failures", default=True, show_default=True, help="With the tactics that failed."
)
def export(store: Path, out: Path, failures: bool) -> None:
    """Write STORE as a compressed corpus."""
    from prover.training.examples import write_corpus
    from prover.training.store import StepStore

    with StepStore(store) as opened:
        corpus = opened.corpus()
    write_corpus(corpus if failures else replace(corpus, failures=()), out)
    size = out.stat().st_size / 1024**2
    click.echo(f"{out}: {len(corpus.proofs)} proofs, {len(corpus.failures)} failed tactics, {size:.2f} MiB")
