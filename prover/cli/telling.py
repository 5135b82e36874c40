"""Errors for the person at the terminal: a line each, without a traceback, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from prover.errors import InputError, ProverError


def tell(error: ProverError) -> None:
    """Say what is wrong."""
    click.echo(f"prover: {error}", err=True)


def exit_code(error: ProverError) -> int:
    """2 where the input is at fault, 3 where Lean or the machine is."""
    return 2 if isinstance(error, InputError) else 3


@contextmanager
def told_errors(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Tell errors, and exit with their code.

    Args:
        interrupted: what is said after Ctrl-C.
    """
    try:
        yield
    except ProverError as error:
        tell(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        click.echo(interrupted, err=True)
        sys.exit(130)


class TellingGroup(click.Group):
    """Commands whose errors are told."""

    interrupted = "Interrupted."

    def invoke(self, context: click.Context) -> Any:
        with told_errors(self.interrupted):
            return super().invoke(context)
