"""A run as reports see it: its name, its plan and its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eval.records import Plan, Record, Status
from eval.store import read_plan, read_records
from prover.errors import InputError


@dataclass(frozen=True)
class Run:
    """What a run folder holds, without its trees."""

    name: str
    folder: Path
    plan: Plan
    records: tuple[Record, ...]

    @cached_property
    def by_problem(self) -> dict[str, tuple[Record, ...]]:
        """The records of each problem, by seed; problems in the order of the benchmark."""
        groups: dict[str, list[Record]] = {}
        for record in sorted(self.records, key=lambda r: (r.position, r.problem, r.seed)):
            groups.setdefault(record.problem, []).append(record)
        return {problem: tuple(records) for problem, records in groups.items()}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run so far."""
        return tuple(sorted({record.seed for record in self.records}))

    @property
    def owed(self) -> int:
        """Attempts that the plan has and the run not yet."""
        return self.plan.problems * len(self.plan.seeds) - len(self.records)


def proved(records: Iterable[Record]) -> bool:
    """Whether one of the attempts at a problem found a proof."""
    return any(record.status is Status.PROVED for record in records)


def expressible(records: Iterable[Record]) -> bool:
    """Whether one of the attempts at a problem could be made at all."""
    return any(record.status is not Status.NOT_EXPRESSIBLE for record in records)


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read runs; each is named by its folder, by as much of the path as tells them apart.

    Raises:
        InputError: a folder is not a run, cannot be read, is named twice, or has no record yet.
    """
    names = _distinct_names([folder.resolve() for folder in folders])
    return [_load_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _load_run(folder: Path, name: str) -> Run:
    run = Run(name, folder, read_plan(folder), tuple(read_records(folder)))
    if not run.records:
        raise InputError(f"{folder} has no records yet: start the run, and ask again when it has some")
    return run


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Return for each folder the shortest end of its path that tells all of them apart."""
    if len(set(folders)) < len(folders):
        raise InputError("the same run is named twice: name each run once")
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return ["/".join(folder.parts[-depth:]) for folder in folders]
