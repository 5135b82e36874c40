"""How figures are written, alike on the page and in the terminal."""

from __future__ import annotations

from eval.records import Status
from eval.report.figures import Rate
from eval.statistics import Interval, Spread

STATUS = {
    Status.PROVED: "proved",
    Status.NOT_PROVED: "not proved",
    Status.REJECTED: "rejected by the check",
    Status.NOT_EXPRESSIBLE: "not expressible here",
    Status.INFRASTRUCTURE: "infrastructure failed",
}
#: A shape for each, so that colour is not all that tells them apart.
SIGN = {
    Status.PROVED: "✓",
    Status.NOT_PROVED: "·",
    Status.REJECTED: "✗",
    Status.NOT_EXPRESSIBLE: "∅",
    Status.INFRASTRUCTURE: "!",
}


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """A count, or a mean of counts with one digit."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else f"{value:,.1f}"


def interval(found: Interval) -> str:
    return f"{100 * found.low:.1f}–{100 * found.high:.1f} %"


def signed_interval(found: Interval) -> str:
    """An interval of a difference, in points of per cent."""
    return f"{points(found.low)} to {points(found.high)}"


def points(difference: float) -> str:
    """A difference of two shares."""
    return f"{100 * difference:+.1f}"


def out_of(rate: Rate) -> str:
    return f"{number(rate.proved)} of {number(rate.total)}"


def spread(found: Spread) -> str:
    sigma = "" if found.sigma is None else f" ± {100 * found.sigma:.1f}"
    return f"{100 * found.mean:.1f}{sigma} %"


def p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def seconds(value: float) -> str:
    """A duration, in the unit that suits it."""
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"
