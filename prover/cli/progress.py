"""Live progress on standard error: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from prover.cli.show import outcome, printable
from prover.reports import Event, Finished, Stage, Started
from prover.reports import Progress as Standing

if TYPE_CHECKING:
    from rich.live import Live


class Progress:
    """Shows events while it is entered."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._live: Live | None = None
        self._stage = ""

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, transient=True, refresh_per_second=8, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def on_event(self, event: Event) -> None:
        """Show an event; cheap enough to be called for every expansion."""
        match event:
            case Stage():
                self._show_stage(event)
            case Started() if self._verbose:
                self._say(f"{_heading(event)}\n{_indented(event.statement)}")
            case Started():
                self._renew(_heading(event))
            case Standing():
                self._renew(_standing(event))
            case Finished(report):
                self._say(outcome(report))

    def _show_stage(self, stage: Stage) -> None:
        if self._live is not None:
            self._renew(f"{stage.text} {stage.done / stage.total:.0%}" if stage.total else stage.text)
        elif stage.text != self._stage:
            self._say(stage.text)
        self._stage = stage.text

    def _say(self, text: str) -> None:
        """Print something that stays."""
        if self._live is None:
            click.echo(printable(text), err=True)
        else:
            self._live.console.print(printable(text), markup=False, emoji=False)

    def _renew(self, line: str) -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(printable(line), no_wrap=True, overflow="ellipsis", end=""))


def _heading(event: Started | Standing) -> str:
    return f"[{event.index}/{event.total}] {event.theorem or 'example'}"


def _standing(event: Standing) -> str:
    cost = f"{event.expansions} expansions, {event.tactics} tactics, {event.tactics_per_second:.0f}/s"
    goal = " ".join(event.best_goal[event.best_goal.find("⊢") :].split()) if event.best_goal else ""
    return f"{_heading(event)}  {cost}  {goal}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
