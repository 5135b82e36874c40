"""How a run stands, counted from what the runner tells."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from eval.records import Record, Status
from eval.runner import Event, Finished, Started

WORDS = {
    Status.PROVED: "proved",
    Status.NOT_PROVED: "not proved",
    Status.REJECTED: "rejected by the check",
    Status.NOT_EXPRESSIBLE: "not expressible here",
    Status.INFRASTRUCTURE: "lost to Lean or the machine",
}


@dataclass(slots=True)
class Tally:
    """Counts of the whole run, and the times of this session: since the run began or went on."""

    clock: Callable[[], float] = time.monotonic
    total: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    #: Attempts of this session.
    finished: int = 0
    #: Seconds of this session's attempts, summed over the workers.
    attempts_seconds: float = 0.0
    lean_seconds: float = 0.0
    model_seconds: float = 0.0
    #: What the runner itself took between attempts.
    runner_seconds: float = 0.0
    _start: float = 0.0

    def on_event(self, event: Event) -> None:
        match event:
            case Started(total, done):
                self.total, self._start = total, self.clock()
                self.statuses.update(record.status for record in done)
            case Finished(record, seconds):
                self._count(record)
                self.runner_seconds += seconds

    def _count(self, record: Record) -> None:
        self.statuses[record.status] += 1
        self.finished += 1
        self.attempts_seconds += record.wall_seconds
        # Outside of its search an attempt waits for Lean: to open the theorem, and to check the proof.
        self.lean_seconds += record.lean_seconds + record.wall_seconds - record.search_seconds
        self.model_seconds += record.model_seconds

    @property
    def done(self) -> int:
        return self.statuses.total()

    @property
    def seconds(self) -> float:
        """How long this session has lasted."""
        return self.clock() - self._start

    @property
    def per_hour(self) -> float:
        """Attempts an hour in this session; 0 before the first one ends."""
        return 3600 * self.finished / self.seconds if self.finished and self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this session's rate; None before there is one."""
        return 3600 * (self.total - self.done) / self.per_hour if self.per_hour else None

    def standing(self) -> str:
        """One line for the way."""
        proved = self.statuses[Status.PROVED]
        text = f"{self.done} of {self.total} done, {proved} proved"
        if self.seconds_left is not None:
            text += f", {self.per_hour:.0f} an hour, {duration(self.seconds_left)} left"
        return text

    def summary(self) -> str:
        """A few lines for the end."""
        lines = [self._counts()]
        if self.finished:
            lines += [self._rate(), self._shares()]
        return "\n".join(lines)

    def _counts(self) -> str:
        proved = self.statuses[Status.PROVED]
        share = f" ({proved / self.done:.1%})" if self.done else ""
        others = [f"{n} {WORDS[status]}" for status in Status if (n := self.statuses[status])]
        return f"{proved} of {self.done} proved{share}: {', '.join(others) or 'nothing done yet'}"

    def _rate(self) -> str:
        return f"rate: {self.finished} in {duration(self.seconds)}, {self.per_hour:.0f} an hour"

    def _shares(self) -> str:
        """Where the time of this session's workers went."""
        everything = (self.attempts_seconds + self.runner_seconds) or 1.0
        lean, model = self.lean_seconds / everything, self.model_seconds / everything
        runner = self.runner_seconds / everything
        rest = max(0.0, 1 - lean - model - runner)
        return f"time: Lean {lean:.1%}, generator {model:.1%}, search {rest:.1%}, runner {runner:.1%}"


def duration(seconds: float) -> str:
    """Two units at most: "45 s", "3 min 5 s", "2 h 7 min", "3 d 4 h"."""
    whole = round(seconds)
    for unit, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            small = whole % unit // part
            return f"{whole // unit} {name} {small} {part_name}" if small else f"{whole // unit} {name}"
    return f"{whole} s"
