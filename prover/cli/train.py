"""``prover train``: train a decoder on proofs, or fine-tune one; ``prover accuracy``: measure it.

    prover train --out MODEL --minutes 60                   a small model made anew, all forms mixed
    prover train --out MODEL --steps 5000 --form history
    prover train --out MODEL --from BASE --lora --minutes 60
    prover train --out MODEL --minutes 60 --resume          go on after it was broken off
    prover accuracy MODEL                                   exact match on modules held out from it

Exit codes: 0 done, 2 the input is at fault, 3 the machine is, 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prover.cli.telling import told_errors
from prover.decoder.completion import Decoding
from prover.decoder.prompts import PromptForm
from prover.training.examples import SHIPPED
from prover.training.recipe import MIXED, Recipe, Shape

_DEFAULT = Recipe()
_SHAPE = Shape()
_FORMS = [form.value for form in PromptForm]
_AT_LEAST_1 = click.IntRange(min=1)
_NOT_NEGATIVE = click.FloatRange(min=0)

_data = click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    default=SHIPPED,
    show_default=False,
    metavar="CORPUS",
    help="Proofs, as `prover data export` writes them (default: those in the package).",
)
_premises = click.option(
    "--premises",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The library's declarations (default: those in the cache).",
)


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@_data
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where the checkpoint goes; work in progress is under DIR/work.",
)
@click.option("--form", type=click.Choice([*_FORMS, "mixed"]), default="mixed", help="What it is shown.")
@click.option("--steps", type=click.IntRange(min=0), default=0, metavar="N", help="Steps; 0: no limit.")
@click.option("--minutes", type=_NOT_NEGATIVE, default=0.0, metavar="M", help="Minutes; 0: no limit.")
@click.option("--hidden", type=_AT_LEAST_1, default=_SHAPE.hidden, help="Width of a new model.")
@click.option("--layers", type=_AT_LEAST_1, default=_SHAPE.layers, help="Of a new model.")
@click.option("--heads", type=_AT_LEAST_1, default=_SHAPE.heads, help="Of its attention.")
@click.option("--ffn", type=_AT_LEAST_1, default=_SHAPE.ffn, help="Width of its feed-forward layers.")
@click.option("--vocabulary", type=_AT_LEAST_1, default=_SHAPE.vocabulary, help="Tokens at most.")
@click.option("--from", "base", default="", metavar="MODEL", help="Fine-tune this one: a folder or a hub id.")
@click.option("--lora", is_flag=True, help="With --from: train low-rank adapters, and merge them.")
@click.option("--rank", type=_AT_LEAST_1, default=16, help="Of the adapters.")
@click.option("--length", type=_AT_LEAST_1, default=_DEFAULT.length, help="Tokens of prompt and answer.")
@click.option("--batch", type=_AT_LEAST_1, default=_DEFAULT.batch, help="Tokens of a batch.")
@click.option("--rate", type=_NOT_NEGATIVE, default=0.0, help="Highest learning rate; 0: what is usual.")
@click.option("--warmup", type=click.IntRange(min=0), default=_DEFAULT.warmup, help="Steps to it.")
@click.option(
    "--declarations",
    type=_NOT_NEGATIVE,
    default=0.0,
    help="Exercises from the library's declarations a proof.",
)
@click.option("--copies", type=_NOT_NEGATIVE, default=0.0, help="Exercises in copying a proof.")
@click.option(
    "--frequent",
    type=click.IntRange(min=0),
    default=0,
    help="Thin out tactics that occur more often; 0: none.",
)
@click.option(
    "--repeated", type=click.IntRange(min=0), default=0, help="Of one tactic on the same goals; 0: all."
)
@click.option(
    "--prompts",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    help="Share of the rows whose prompt is learned too.",
)
@click.option(
    "--synthetic",
    type=click.FloatRange(min=0, max=1),
    default=1.0,
    help="Share of the synthetic proofs an epoch.",
)
@click.option(
    "--lessons",
    type=_NOT_NEGATIVE,
    default=0.0,
    help="States a proof that are told with what worked and what failed there.",
)
@click.option(
    "--applied",
    type=_NOT_NEGATIVE,
    default=0.0,
    help="Library theorems a proof that are told as states to apply them at.",
)
@click.option(
    "--renamed",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    help="Share of both, in the form context, whose shown declarations get made-up names.",
)
@click.option("--induction", is_flag=True, help="A new model copies from the start.")
@click.option(
    "--memory",
    type=click.IntRange(min=0),
    default=0,
    help="Train with a memory layer, on documents with so many entries in memory; 0: without.",
)
@click.option("--slots", type=_AT_LEAST_1, default=_DEFAULT.slots, help="Documents read side by side.")
@click.option(
    "--held-out",
    type=click.FloatRange(min=0, max=0.9),
    default=_DEFAULT.held_out,
    help="Share of the modules to measure with instead.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="Processes that make batches ready, for a GPU; 0: none but the one that trains.",
)
@click.option("--seed", type=int, default=0)
@click.option("--every", type=_AT_LEAST_1, default=200, help="Steps between measurements and checkpoints.")
@click.option("--resume", is_flag=True, help="Go on with the training in DIR.")
@_premises
def train(
    data: Path, out: Path, premises: Path | None, every: int, resume: bool, form: str, **given: Any
) -> None:
    """Train a decoder on proofs: a small one made anew, or --from another one."""
    from prover.training.train import Job
    from prover.training.train import train as carry_out

    with told_errors("Interrupted; `--resume` goes on from the last checkpoint."):
        job = Job(data, out, _recipe(form, **given), premises, every, resume)
        record = carry_out(job, lambda line: click.echo(line, err=True))
    figures = record["figures"]
    click.echo(f"{out}: {figures['parameters'] / 1e6:.1f} million parameters, {figures['steps']} steps")


def _recipe(form: str, base: str, lora: bool, rank: int, **given: Any) -> Recipe:
    names = ("hidden", "layers", "heads", "ffn", "vocabulary")
    shape = Shape(**{name: given.pop(name) for name in names})
    forms = dict(MIXED) if form == "mixed" else {PromptForm(form): 1.0}
    return Recipe(shape=None if base else shape, base=base, lora=rank if lora else 0, forms=forms, **given)


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.argument("checkpoint", type=click.Path(path_type=Path, file_okay=False))
@_data
@click.option(
    "--form", "forms", multiple=True, type=click.Choice(_FORMS), help="(default: as it was trained)"
)
@click.option("--limit", type=_AT_LEAST_1, default=300, help="Questions of each form.")
@click.option("--samples", type=_AT_LEAST_1, default=16, help="Answers a question.")
@click.option(
    "--decoding",
    type=click.Choice([d.value for d in Decoding]),
    default=Decoding.BEAM.value,
    help="How drawn.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@_premises
def accuracy(checkpoint: Path, forms: tuple[str, ...], decoding: str, as_json: bool, **given: Any) -> None:
    """Measure CHECKPOINT on the modules that were held out when it was trained.

    How often it says the proof's own tactic, foremost and among ten, and the perplexity of that tactic.
    """
    import asyncio
    import json

    from prover.training.accuracy import Measurement, as_table, measure

    chosen = tuple(map(PromptForm, forms))
    with told_errors("Interrupted; `--resume` goes on from the last checkpoint."):
        asked = Measurement(checkpoint, forms=chosen, decoding=Decoding(decoding), **given)
        found = asyncio.run(measure(asked))
    click.echo(json.dumps(found, indent=2) if as_json else as_table(found))


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.argument("first", type=click.Path(path_type=Path, file_okay=False))
@click.argument("second", type=click.Path(path_type=Path, file_okay=False))
@click.option("--share", type=click.FloatRange(0, 1), default=0.6, help="Of SECOND's weights.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR")
def blend(first: Path, second: Path, share: float, out: Path) -> None:
    """Write a checkpoint with weights between FIRST's and those of SECOND, which was trained on from it."""
    from prover.training.blend import blend as blended

    with told_errors():
        count = blended(first, second, share, out)
    click.echo(f"{out}: {count} tensors, {share:g} of {second}")
