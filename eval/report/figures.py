"""The figures of a run that a report shows: pass rates, curves, groups, times, failures."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eval.benchmarks.base import tag_value
from eval.records import Record, Status
from eval.runs import Run, expressible
from eval.statistics import Interval, Spread, pass_at_k, spread, wilson

#: Tags that divide a benchmark into groups worth a table.
GROUP_KEYS = ("category", "difficulty", "area")
#: More groups than these are shown as one: the smallest ones, together.
MOST_GROUPS = 16

Attempts = Sequence[Record]


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of some problems were proved; with several seeds, the mean number over the seeds (pass@1)."""

    label: str
    proved: float
    total: int

    @property
    def share(self) -> float:
        return self.proved / self.total if self.total else 0.0

    @property
    def interval(self) -> Interval:
        """Wilson's, with the problems as the units that are drawn."""
        return wilson(self.proved, self.total)


@dataclass(frozen=True, slots=True)
class PassAtK:
    """The share of the expressible problems that k seeds prove together."""

    k: int
    #: The unbiased estimate from all seeds; sigma from disjoint sets of k seeds, None with only one such set.
    value: Spread


@dataclass(frozen=True, slots=True)
class Group:
    """The problems that share the value of a tag."""

    value: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Time:
    """Where the seconds of all attempts went."""

    lean: float
    model: float
    #: Opening the theorems, and checking the proofs: Lean as well.
    open: float
    check: float
    rest: float

    @property
    def wall(self) -> float:
        return self.lean + self.model + self.open + self.check + self.rest


#: How many theorems were solved at most at a cost: (cost, number), both growing.
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown of one run."""

    run: Run
    #: The main one: infrastructure failures are in the denominator, what cannot be expressed is not.
    expressible: Rate
    #: The same with all problems in the denominator.
    all: Rate
    #: The expressible ones without those tagged as known to be wrong or trivial; None where there are none.
    sound: Rate | None
    #: The tagged ones, one rate for each kind.
    known: tuple[Rate, ...]
    passes: tuple[PassAtK, ...]
    #: Solved against seconds of search, and against expansions.
    by_seconds: Curve
    by_expansions: Curve
    time: Time
    statuses: Mapping[Status, int]
    endings: Mapping[str, int]
    error_kinds: Mapping[str, int]
    #: What became of the tactics: tried, failed, duplicate, refused, crashed.
    tactics: Mapping[str, int]
    machines: tuple[str, ...]
    commits: tuple[str, ...]


def figures(run: Run) -> Figures:
    """Compute all figures of a run."""
    groups = run.by_problem
    possible = {name: records for name, records in groups.items() if expressible(records)}
    sound = {name: records for name, records in possible.items() if not _tag(records, "known")}
    records = run.records
    return Figures(
        run=run,
        expressible=rate("expressible", possible.values()),
        all=rate("all", groups.values()),
        sound=rate("without known ones", sound.values()) if len(sound) < len(possible) else None,
        known=tuple(_known(possible)),
        passes=tuple(passes(run.seeds, list(possible.values()))),
        by_seconds=curve(possible.values(), lambda record: record.search_seconds),
        by_expansions=curve(possible.values(), lambda record: record.expansions),
        time=time(records),
        statuses={status: n for status in Status if (n := sum(r.status is status for r in records))},
        endings=_counted(record.ended for record in records),
        error_kinds=_counted(record.error_kind for record in records),
        tactics=_tactics(records),
        machines=tuple(sorted({record.machine for record in records})),
        commits=tuple(sorted({record.commit for record in records})),
    )


def rate(label: str, problems: Iterable[Attempts]) -> Rate:
    """Return pass@1: each problem counts with the share of its attempts that proved it."""
    shares = [_share(records) for records in problems]
    return Rate(label, math.fsum(shares), len(shares))


def _share(records: Attempts) -> float:
    return sum(record.status is Status.PROVED for record in records) / len(records)


def passes(seeds: Sequence[int], problems: Sequence[Attempts]) -> Iterator[PassAtK]:
    """Yield pass@k for k = 1, 2, 4 ... and for all seeds; for a single seed nothing.

    Problems that not all seeds have attempted yet are left out.
    """
    whole = [records for records in problems if len(records) == len(seeds)]
    if len(seeds) < 2 or not whole:
        return
    for k in sorted({*(2**i for i in range(len(seeds).bit_length()) if 2**i < len(seeds)), len(seeds)}):
        yield PassAtK(k, Spread(_unbiased(whole, k), _sigma(whole, seeds, k)))


def _unbiased(problems: Sequence[Attempts], k: int) -> float:
    counts = ((len(records), sum(r.status is Status.PROVED for r in records)) for records in problems)
    return statistics.fmean(pass_at_k(n, proved, k) for n, proved in counts)


def _sigma(problems: Sequence[Attempts], seeds: Sequence[int], k: int) -> float | None:
    sets = [set(seeds[i : i + k]) for i in range(0, len(seeds) - k + 1, k)]
    return spread([_any_of(problems, chosen) for chosen in sets]).sigma


def _any_of(problems: Sequence[Attempts], seeds: set[int]) -> float:
    """The share of the problems that at least one of these seeds proved."""
    return statistics.fmean(
        any(record.status is Status.PROVED and record.seed in seeds for record in records)
        for records in problems
    )


def curve(problems: Iterable[Attempts], cost: Callable[[Record], float]) -> Curve:
    """Return how many problems are solved within a cost; with several seeds, the mean number over them."""
    solved = sorted(
        (cost(record), 1 / len(records))
        for records in problems
        for record in records
        if record.status is Status.PROVED
    )
    points, number = [], 0.0
    for value, weight in solved:
        number += weight
        points.append((value, number))
    return tuple(points)


def groups_of(runs: Sequence[Run], key: str) -> dict[str, list[Rate]]:
    """Return for each value of a tag the rate of each run over the expressible problems, big groups first.

    Values that are alike but for a number, as the levels of difficulty are, stand in the order of the number.
    """
    sizes = Counter(value for run in runs for value in _values(run, key))
    names = sizes if len(sizes) <= MOST_GROUPS else [name for name, _ in sizes.most_common(MOST_GROUPS - 1)]
    rest = sorted(set(sizes) - set(names))
    ordered = sorted(names, key=_order(sizes))
    found = {name: [_group_rate(run, key, {name}) for run in runs] for name in ordered}
    if rest:
        found[f"{len(rest)} smaller ones"] = [_group_rate(run, key, set(rest)) for run in runs]
    return found


def _values(run: Run, key: str) -> Iterator[str]:
    for records in run.by_problem.values():
        if expressible(records) and (value := _tag(records, key)):
            yield value


def _order(sizes: Counter[str]) -> Callable[[str], tuple[object, ...]]:
    """Sort by number when every name holds one, else by size."""
    numbers = {name: re.search(r"\d+", name) for name in sizes}
    if all(numbers.values()):
        return lambda name: (int(numbers[name][0]), name)  # type: ignore[index]
    return lambda name: (-sizes[name], name)


def _group_rate(run: Run, key: str, values: set[str]) -> Rate:
    problems = (records for records in run.by_problem.values() if expressible(records))
    return rate(run.name, (records for records in problems if _tag(records, key) in values))


def _known(problems: Mapping[str, Attempts]) -> Iterator[Rate]:
    for value in sorted({_tag(records, "known") for records in problems.values()} - {""}):
        yield rate(f"known {value}", (r for r in problems.values() if _tag(r, "known") == value))


def _tag(records: Attempts, key: str) -> str:
    return tag_value(records[0].tags, key)


def time(records: Iterable[Record]) -> Time:
    """Add up the seconds; with several Lean processes at one problem, ``rest`` can be hidden behind them."""
    listed = list(records)
    lean, model = sum(r.lean_seconds for r in listed), sum(r.model_seconds for r in listed)
    opening, check = sum(r.open_seconds for r in listed), sum(r.check_seconds for r in listed)
    wall = sum(r.wall_seconds for r in listed)
    return Time(lean, model, opening, check, max(0.0, wall - lean - model - opening - check))


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(name for name in names if name).most_common())


def _tactics(records: Iterable[Record]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for r in records:
        total.update(
            tried=r.tactics, failed=r.errors, duplicate=r.duplicates, refused=r.refused, crashed=r.crashes
        )
    return {name: total[name] for name in ("tried", "failed", "duplicate", "refused", "crashed")}
