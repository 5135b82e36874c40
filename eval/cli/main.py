"""``prover eval``: measure the prover.

    prover eval run library --out RUN       attempt the theorems of a benchmark, or go on with that
    prover eval report RUN...               one HTML page about runs
    prover eval compare A B                 theorem by theorem
    prover eval verify RUN                  check every proof again in a fresh Lean

Exit codes: 0 done, 2 the input is at fault, 3 Lean or the machine is, 130 interrupted.
"""

from __future__ import annotations

from importlib import import_module

import click

from prover.cli.telling import TellingGroup


class EvalGroup(TellingGroup):
    """Imports a command when it is asked for."""

    COMMANDS = ("run", "report", "compare", "verify", "extract", "expressible")

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"eval.cli.{name}"), name)
        return command


@click.group(cls=EvalGroup, name="eval", context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the prover on benchmarks: run, report, compare, verify."""
