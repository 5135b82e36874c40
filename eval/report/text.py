"""The report and the comparison as plain text, in colour where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from eval.compare import Comparison
from eval.records import Status
from eval.report import words
from eval.report.figures import GROUP_KEYS, Figures, Rate, figures, groups_of
from eval.runs import Run
from prover.cli.show import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Where there is no terminal, no line is broken.
_WIDE = 240

_RATE = ("proved", "rate", "95 % interval")
_TIME = ("run", "in all", "Lean", "model", "open", "check", "rest")
_TACTICS = ("run", "tried", "failed", "to a known state", "refused unseen", "crashes")


def console() -> Console:
    """A console on standard output that breaks no line and colours nothing where there is no terminal."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDE, color_system=None)


def print_report(runs: Sequence[Run], out: Console) -> None:
    """Print the figures of the page, without its plots and trees."""
    found = [figures(run) for run in runs]
    for title, table in _tables(runs, found):
        out.print(title, style="bold")
        out.print(table)
    for warning in _warnings(found):
        out.print(f"Note: {warning}", style="yellow", markup=False)


def _tables(runs: Sequence[Run], found: Sequence[Figures]) -> Iterator[tuple[str, Table]]:
    yield "Theorems proved", _table(("run", "of", *_RATE), _rates(found))
    if any(f.passes for f in found):
        yield "pass@k, mean ± σ over seeds", _table(("run", "k", "pass@k"), _passes(found))
    for key in GROUP_KEYS:
        groups = groups_of(runs, key)
        if len(groups) > 1:
            yield f"By {key}, of the expressible", _table((key, "run", *_RATE), _groups(groups))
    yield "Where the time goes", _table(_TIME, map(_time, found))
    yield "How attempts ended", _table(("run", "of", "ended", "attempts"), _ends(found))
    yield "Tactics", _table(_TACTICS, map(_tactics, found))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        is_text = name in ("run", "of", "ended", *GROUP_KEYS)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _rates(found: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    for f in found:
        rates = [f.expressible, f.all if f.all.total != f.expressible.total else None, f.sound, *f.known]
        yield from ((f.run.name, rate.label, *_rate(rate)) for rate in rates if rate is not None)


def _rate(rate: Rate) -> tuple[str, str, str]:
    return words.out_of(rate), words.percent(rate.share), words.interval(rate.interval)


def _passes(found: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    for f in found:
        yield from ((f.run.name, str(p.k), words.spread(p.value)) for p in f.passes)


def _groups(groups: Mapping[str, Sequence[Rate]]) -> Iterator[tuple[str, ...]]:
    for value, rates in groups.items():
        yield from ((value, rate.label, *_rate(rate)) for rate in rates)


def _time(f: Figures) -> tuple[str, ...]:
    parts = (f.time.lean, f.time.model, f.time.open, f.time.check, f.time.rest)
    return f.run.name, words.seconds(f.time.wall), *(words.percent(p / (f.time.wall or 1)) for p in parts)


def _ends(found: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    for f in found:
        outcomes = {words.STATUS[status]: n for status, n in f.statuses.items()}
        lists = (("attempts", outcomes), ("searches", f.endings), ("infrastructure failures", f.error_kinds))
        for title, counts in lists:
            yield from ((f.run.name, title, name.replace("_", " "), f"{n:,}") for name, n in counts.items())


def _tactics(f: Figures) -> tuple[str, ...]:
    return f.run.name, *(f"{n:,}" for n in f.tactics.values())


def _warnings(found: Sequence[Figures]) -> Iterator[str]:
    for f in found:
        if f.run.owed:
            yield f"{f.run.name} is unfinished; attempts missing: {f.run.owed}"
        if failures := f.statuses.get(Status.INFRASTRUCTURE):
            yield f"infrastructure failures of {f.run.name}, counted as not proved: {failures}"


def print_comparison(found: Comparison, out: Console) -> None:
    """Print who proved what, and what that is worth."""
    for warning in found.warnings:
        out.print(f"Note: {warning}", style="yellow", markup=False)
    out.print(_table(("run", *_RATE), _sides(found)))
    for title, names in (("Gained", found.gained), ("Lost", found.lost)):
        out.print(f"{title}: {len(names)}", style="bold")
        for name in names:
            out.print(f"  {printable(name)}", markup=False, soft_wrap=True)
    out.print(f"Both: {len(found.both)}   Neither: {len(found.neither)}", style="bold")
    if found.not_expressible:
        out.print(f"Not expressible here, and left out: {len(found.not_expressible)}")
    difference, interval = words.points(found.difference), words.signed_interval(found.interval)
    out.print(f"Difference: {difference} points of per cent (95 % interval {interval})")
    out.print(f"McNemar's exact test: p = {words.p_value(found.p_value)}")


def _sides(found: Comparison) -> Iterator[tuple[str, ...]]:
    for name, own in ((found.before, found.lost), (found.after, found.gained)):
        yield name, *_rate(Rate(name, len(found.both) + len(own), found.total))
