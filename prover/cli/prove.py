"""``prove FILE…``: prove the ``sorry``s of Lean files, each result accepted by a fresh Lean.

    prove lean_project/Examples/Logic.lean
    prove -e "∀ a b : Nat, a + b = b + a"
    prove --check Logic.proved.lean --against Logic.lean

Exit codes: 0 everything is proved, 1 something is not, 2 the input is at fault, 3 Lean or the machine is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from prover import __version__
from prover.cli.arguments import Arguments
from prover.cli.decoder_options import decoder_options
from prover.cli.lean_options import sandbox_option
from prover.reports import DEFAULTS


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all proved, 1 some not, 2 the input is at fault, 3 Lean or the machine is.",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("-e", "statement", metavar="STATEMENT", help="Prove a bare statement instead of a file.")
@click.option("--theorem", "theorems", multiple=True, metavar="NAME", help="Only this one (repeatable).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.timeout,
    show_default=True,
    metavar="SECONDS",
    help="For one theorem.",
)
@click.option(
    "--max-expansions",
    type=click.IntRange(min=1),
    default=DEFAULTS.max_expansions,
    show_default=True,
    metavar="N",
    help="Proof states expanded for one theorem.",
)
@click.option(
    "--max-tactics",
    type=click.IntRange(min=1),
    default=DEFAULTS.max_tactics,
    show_default=True,
    metavar="N",
    help="Tactics run for one theorem.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Lean processes side by side (default: by cores and memory; each takes about 4 GiB).",
)
@click.option(
    "--seed",
    type=int,
    default=DEFAULTS.seed,
    show_default=True,
    metavar="N",
    help="For what is left to chance.",
)
@click.option(
    "--generator",
    default=DEFAULTS.generator,
    show_default=True,
    metavar="NAME",
    help="What proposes the tactics: portfolio, knn, memory, decoder; a+b mixes, with a,b b joins later.",
)
@click.option(
    "--length-exponent",
    type=click.FloatRange(min=0),
    default=DEFAULTS.length_exponent,
    show_default=True,
    metavar="A",
    help="A state counts its log-probability divided by its depth to this power.",
)
@click.option(
    "--lean",
    metavar="embedded|PATH",
    help="Which Lean (default: the file's own Lake project's, else the embedded one).",
)
@sandbox_option
@click.option("--in-place", is_flag=True, help="Put the proofs into FILE itself.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the file with the proofs goes (default: FILE.proved.lean).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON record a theorem on standard output.")
@click.option(
    "--tree",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Export each search tree as JSON.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell more on the way: goals, and every step.")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Prove nothing: check a finished file, with --against.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="ORIGINAL",
    help="The file with the sorrys whose statements --check FILE must have kept.",
)
@click.option(
    "--remember",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Decoder: keep what it has tried here, and begin with what is here (with a memory layer).",
)
@click.version_option(__version__, prog_name="prove")
@decoder_options
def main(**given: Any) -> NoReturn:
    """Prove the `sorry`s of Lean 4 files.

    The proofs are printed, and FILE.proved.lean is written with those that a fresh Lean accepts.
    """
    arguments = Arguments(**given)
    _check_usage(arguments)
    # Here and not above: `prove --help` shall not wait for what only the work needs.
    from prover.cli.job import run

    sys.exit(run(arguments))


def _check_usage(given: Arguments) -> None:
    """Refuse what does not go together; click exits with code 2."""
    jobs = [bool(given.files), given.statement is not None, given.check is not None]
    if sum(jobs) != 1:
        raise click.UsageError("give files, or a statement with -e, or --check FILE --against ORIGINAL")
    if (given.check is None) != (given.against is None):
        raise click.UsageError("--check and --against go together")
    if given.in_place and (given.output or not given.files):
        raise click.UsageError("--in-place is for files, and without --output")
    if given.output and len(given.files) > 1:
        raise click.UsageError("--output is for one file")


if __name__ == "__main__":
    main()
