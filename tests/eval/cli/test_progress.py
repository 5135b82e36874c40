"""How a run stands, counted and shown."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from eval.cli.progress import Progress
from eval.cli.tally import Tally, duration
from eval.records import Status
from eval.runner import Event, Finished, Started
from tests.eval.scripted import record

LOST = replace(
    record(2, status=Status.INFRASTRUCTURE),
    error_kind="died",
    tries=3,
    message="gone\x1b[2J\nmore",
    proof=None,
)
EVENTS: list[Event] = [
    Started(6, (record(0), record(1, status=Status.NOT_PROVED))),
    Finished(LOST, 0.0),
    Finished(record(3), 0.5),
]


class Clock:
    """Ten seconds pass between two looks."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(clock: Clock, seconds: float = 90.0) -> Tally:
    """What is counted when each event comes so many seconds after the one before."""
    tally = Tally(clock=clock)
    for event in EVENTS:
        tally.on_event(event)
        clock.now += seconds
    return tally


def test_counts_are_of_the_whole_run_and_times_of_this_session() -> None:
    tally = told(Clock())
    assert (tally.done, tally.total, tally.finished) == (4, 6, 2)
    assert tally.per_hour == pytest.approx(2 / 270 * 3600)
    assert tally.seconds_left == pytest.approx(270)
    assert tally.standing() == "4 of 6 done, 2 proved, 27 an hour, 4 min 30 s left"
    assert tally.summary().splitlines() == [
        "2 of 4 proved (50.0%): 2 proved, 1 not proved, 1 lost to Lean or the machine",
        "rate: 2 in 4 min 30 s, 27 an hour",
        "time: Lean 60.0%, generator 20.0%, search 0.0%, runner 20.0%",
    ]


def test_before_the_first_attempt_no_rate_is_known() -> None:
    tally = Tally(clock=Clock())
    tally.on_event(Started(5, ()))
    assert tally.standing() == "0 of 5 done, 0 proved"
    assert tally.summary() == "0 of 0 proved: nothing done yet"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (7620, "2 h 7 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, seconds: float) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    clock = Clock()
    with Progress(Tally(clock=clock)) as progress:
        for percent in (1, 2):
            progress.on_stage("Installing Lean", percent, 100)
        for event in EVENTS:
            progress.on_event(event)
            if progress._bar is not None:
                progress._bar.refresh()
            clock.now += seconds
    return stream.getvalue()


def test_a_line_now_and_then_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "t2, seed 0: lost to Lean or the machine, died, 3 tries: gone�[2J\n"
    often = shown(monkeypatch, terminal=False, seconds=90.0)
    assert often == (
        "Installing Lean\n2 of 6 done, 1 proved\n"
        f"{odd}3 of 6 done, 1 proved, 40 an hour, 4 min 30 s left\n"
        "4 of 6 done, 2 proved, 40 an hour, 3 min left\n"
    )
    seldom = shown(monkeypatch, terminal=False, seconds=1.0)
    assert seldom == f"Installing Lean\n2 of 6 done, 1 proved\n{odd}"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True, seconds=90.0)
    assert "━" in text and "4 of 6 done, 2 proved, 40 an hour, 3 min left" in text
    assert "lost to Lean or the machine, died, 3 tries: gone�[2J\n" in text
