"""What a generator is taught before a run: the accepted proofs of other runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.records import Record, Status
from eval.store import read_plan, read_records
from prover.generators.base import Step


@dataclass(frozen=True, slots=True)
class Lesson:
    """A proof to remember."""

    steps: tuple[Step, ...]
    #: The theorem's place in the benchmark's order of learning; None: it may be used for any theorem.
    position: int | None


def lesson_of(record: Record) -> Lesson:
    """What an attempt teaches; nothing (no steps) when it found no proof."""
    steps = record.steps if record.status is Status.PROVED else ()
    return Lesson(tuple(Step(step.goals, step.tactic) for step in steps), record.position)


def lessons_of(folders: Sequence[Path], benchmark: str) -> tuple[Lesson, ...]:
    """Read the proofs of runs; those of another benchmark have no place in this one's order.

    Raises:
        InputError: a folder holds no run, or a damaged one.
    """
    lessons: list[Lesson] = []
    for folder in folders:
        same = read_plan(folder).benchmark == benchmark
        for record in read_records(folder):
            lesson = lesson_of(record)
            if lesson.steps:
                lessons.append(lesson if same else Lesson(lesson.steps, None))
    return tuple(lessons)
