"""Live progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from eval.cli.tally import WORDS, Tally
from eval.records import Record, Status
from eval.runner import Event, Finished
from prover.cli.show import printable

if TYPE_CHECKING:
    import rich.progress

#: Seconds between two lines where there is no terminal.
PAUSE = 60.0
#: What is told at once, because it should not happen.
_ODD = (Status.REJECTED, Status.INFRASTRUCTURE)


class Progress:
    """Shows how a run stands while it is entered."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bar: rich.progress.Progress | None = None
        self._stage = ""
        self._spoke = float("-inf")

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _make_bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_stage(self, text: str, done: int = 0, total: int = 0) -> None:
        """Show what goes on before the first attempt: installing Lean, starting it."""
        if self._bar is not None:
            self._renew(text, done, total)
        elif text != self._stage:
            self._say(text)
        self._stage = text

    def on_event(self, event: Event) -> None:
        """Count what the runner tells, and show how it stands."""
        self._tally.on_event(event)
        if isinstance(event, Finished) and event.record.status in _ODD:
            self._say(_odd(event.record))
        tally = self._tally
        if self._bar is not None:
            self._renew(tally.standing(), tally.done, tally.total)
        elif tally.clock() >= self._spoke + PAUSE:
            self._spoke = tally.clock()
            self._say(tally.standing())

    def _say(self, text: str) -> None:
        """Print something that stays."""
        if self._bar is None:
            click.echo(printable(text), err=True)
        else:
            self._bar.console.print(printable(text), markup=False, emoji=False)

    def _renew(self, text: str, done: int, total: int) -> None:
        assert self._bar is not None
        task = self._bar.task_ids[0]
        self._bar.update(task, description=printable(text), completed=done, total=total or None)


def _make_bar() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    description = TextColumn("{task.description}", markup=False)
    console = Console(stderr=True, highlight=False)
    bar = Progress(BarColumn(), description, console=console, transient=True, refresh_per_second=4)
    bar.add_task("", total=None)
    return bar


def _odd(record: Record) -> str:
    kind = f", {record.error_kind}" if record.error_kind else ""
    tries = f", {record.tries} tries" if record.tries > 1 else ""
    reason = record.message.partition("\n")[0]
    return f"{record.problem}, seed {record.seed}: {WORDS[record.status]}{kind}{tries}: {reason}"
