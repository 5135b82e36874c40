"""``prover``: look after the installation.

    prover doctor     what is there: Lean, Node, memory, GPU, versions
    prover install    install the embedded Lean ahead of time
    prover train      train a decoder on proofs
    prover accuracy   measure one on proofs that were held out
    prover memory     what a decoder with a memory has read: build it, look into it
    prover serve      answer questions over HTTP
    prover mcp        answer them as tools of the Model Context Protocol
    prover eval       measure the prover on benchmarks

To prove theorems, see ``prove``.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from prover import __version__
from prover.errors import InputError, ProverError

#: Commands of this package that are imported when they are asked for, and where they are.
_LATER = {
    "train": "prover.cli.train",
    "accuracy": "prover.cli.train",
    "blend": "prover.cli.train",
    "memory": "prover.cli.memory",
    "serve": "prover.cli.serve",
    "mcp": "prover.cli.serve",
}


class _OpenGroup(click.Group):
    """Has the commands of this package, and those that others register as ``prover.commands``."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*super().list_commands(context), *_LATER, *_registered()]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _LATER:
            later: click.Command = getattr(import_module(_LATER[name]), name)
            return later
        own = super().get_command(context, name)
        return own or (_load(name) if name in _registered() else None)


def _registered() -> list[str]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group="prover.commands").names)


def _load(name: str) -> click.Command:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="prover.commands", name=name)
    command: click.Command = found.load()
    return command


@click.group(cls=_OpenGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="prover")
def main() -> None:
    """Look after the prover's installation; `prove` is the command that proves."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def doctor(as_json: bool) -> None:
    """Say what was found: Lean, Node, memory, GPU, versions."""
    from prover.cli.doctor import as_table, findings

    found = findings()
    if as_json:
        import json

        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        click.echo(as_table(found))


@main.command()
def install() -> None:
    """Install the embedded Lean ahead of time (`prove` does it at need)."""
    from prover.cli.progress import Progress
    from prover.lean.install import ensure_embedded
    from prover.reports import Stage

    try:
        with Progress(verbose=False) as progress:
            lean = ensure_embedded(lambda text, done, total: progress.on_event(Stage(text, done, total)))
    except ProverError as error:
        click.echo(f"prover: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 3)
    click.echo(f"The embedded Lean is in {lean.home}")


if __name__ == "__main__":
    main()
