"""Options of commands that choose a Lean, and what is told of the choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prover.lean.toolchain import LeanCommand

#: Adds ``sandbox`` to a command's parameters.
sandbox_option = click.option(
    "--sandbox/--no-sandbox",
    default=True,
    help="Run a toolchain's Lean in a sandbox where there is bubblewrap (the embedded one always is in one).",
)


def tell_warnings(commands: Iterable[LeanCommand], program: str = "prover") -> None:
    """Say what a person should know of the Leans that were chosen, once each."""
    for warning in dict.fromkeys(warning for command in commands for warning in command.warnings):
        click.echo(f"{program}: warning: {warning}", err=True)
