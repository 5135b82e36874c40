"""``prover eval run``: attempt the theorems of a benchmark.

    prover eval run library --out runs/portfolio
    prover eval run minif2f --statements valid.jsonl --out runs/minif2f --seconds 30

The same command again goes on with a run that was stopped, however that was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from eval.benchmarks import NAMES
from eval.cli.arguments import Arguments
from prover.cli.decoder_options import decoder_options
from prover.cli.lean_options import sandbox_option
from prover.search.tree import LENGTH_EXPONENT


class Seeds(click.ParamType[tuple[int, ...]]):
    """Numbers with commas between them."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            return tuple(dict.fromkeys(int(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 0,1,2", param, context)


@click.command(context_settings={"max_content_width": 100})
@click.argument("benchmark", type=click.Choice(NAMES))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="RUN",
    help="The run's folder; one that is there is gone on with.",
)
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="valid", show_default=True)
@click.option(
    "--statements", type=click.Path(path_type=Path), help="The statements of minif2f: a JSONL or a checkout."
)
@click.option(
    "--mathlib",
    type=click.Path(path_type=Path),
    metavar="PROJECT",
    help="A Lake project with Mathlib, for minif2f as published.",
)
@sandbox_option
@click.option("--only", multiple=True, metavar="ID", help="Only this theorem (repeatable).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N theorems.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only N theorems drawn at random, always the same; a larger sample holds a smaller one.",
)
@click.option(
    "--generator",
    default="portfolio",
    show_default=True,
    metavar="NAME",
    help="What proposes the tactics: portfolio, knn, memory, decoder; a+b mixes, with a,b b joins later.",
)
@click.option(
    "--experience",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Teach the generator the proofs of this run first (repeatable).",
)
@click.option("--online", is_flag=True, help="Let the generator learn from each proof that is found.")
@click.option(
    "--seeds", type=Seeds(), metavar="0,1,...", help="An attempt with each of these seeds (default: 0)."
)
@click.option("--passes", type=click.IntRange(min=1), metavar="K", help="The same as --seeds 0,1,...,K-1.")
@click.option(
    "--expansions",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Proof states expanded in an attempt.",
)
@click.option(
    "--tactics",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    metavar="N",
    help="Tactics run in an attempt.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds of an attempt's search.",
)
@click.option(
    "--length-exponent",
    type=click.FloatRange(min=0),
    default=LENGTH_EXPONENT,
    show_default=True,
    metavar="A",
    help="A state counts its log-probability divided by its depth to this power.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Attempts side by side (default: 1; over Ray as many as the cluster has room for).",
)
@click.option("--ray", metavar="ADDRESS", help="Over the Ray cluster at this address; local starts one.")
@decoder_options
def run(seeds: tuple[int, ...] | None, passes: int | None, **given: Any) -> NoReturn:
    """Attempt the theorems of a BENCHMARK, or go on with that.

    When it is stopped, also by Ctrl-C, the same command goes on where it was.
    """
    if seeds and passes:
        raise click.UsageError("--seeds and --passes say the same thing: give one of them")
    arguments = Arguments(seeds=seeds or tuple(range(passes or 1)), **given)
    # Here and not above: `--help` shall not wait for what only the work needs.
    from eval.cli.job import evaluate

    sys.exit(evaluate(arguments))
