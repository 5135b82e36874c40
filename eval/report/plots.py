"""The geometry of a cactus plot: axes, ticks and lines in the coordinates of an SVG image.

Drawn here and not by a plotting library: a line plot of steps is all that is needed, it takes its colours
from the page's light or dark style, and it adds a few kilobytes to the page instead of megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.figures import Curve

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40


@dataclass(frozen=True, slots=True)
class Tick:
    #: Where it stands, in the image's units.
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Cactus:
    """Solved theorems against a logarithmic cost."""

    title: str
    unit: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    #: The ``d`` of an SVG path for each run; "" where nothing was solved.
    paths: tuple[str, ...]
    #: The range of costs at the plot's left and right edge, for the read-out under the pointer.
    low: float
    high: float


def cactus(title: str, unit: str, curves: Sequence[Curve], budget: float) -> Cactus:
    """Lay out the curves; the axis reaches from the least cost to the greatest, or to the budget."""
    costs = [cost for curve in curves for cost, _ in curve]
    low, high = _decades(min(costs, default=1.0), max([budget, *costs]))
    top = max((number for curve in curves for _, number in curve), default=1.0)
    step = nice_step(top)
    top = step * math.ceil(top / step)

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(max(cost, low) / low) / math.log(high / low)

    def y(number: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * number / top

    return Cactus(
        title,
        unit,
        tuple(Tick(x(value), f"{value:,g}") for value in log_ticks(low, high)),
        tuple(Tick(y(i * step), f"{i * step:,g}") for i in range(round(top / step) + 1)),
        tuple(_path([(x(cost), y(number)) for cost, number in curve], y(0)) for curve in curves),
        low,
        high,
    )


def _decades(low: float, high: float) -> tuple[float, float]:
    """Widen a range to numbers that begin with 1, 2 or 5, and to one decade at least."""
    low = max(low, 0.001)
    high = max(high, 10 * low)
    marks = [m * 10.0**e for e in range(-3, 13) for m in (1, 2, 5)]
    return max(m for m in marks if m <= low * 1.001), min(m for m in marks if m >= high * 0.999)


def log_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten in a range, with 2 and 5 between them where the range is short."""
    leading = (1,) if high / low > 3000 else (1, 3) if high / low > 300 else (1, 2, 5)
    marks = [m * 10.0**e for e in range(-3, 13) for m in leading]
    return [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]


def nice_step(top: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that divides an axis into six parts at most."""
    steps = (float(m * 10**e) for e in range(12) for m in (1, 2, 5))
    return next(step for step in steps if top / step <= 6)


def _path(points: Sequence[tuple[float, float]], floor: float) -> str:
    """A line of steps, from the floor up and on to the right edge; points of one pixel are one point."""
    if not points:
        return ""
    steps = {f"{x:.1f}": f"{y:.1f}" for x, y in points}
    start, end = f"M{points[0][0]:.1f} {floor:.1f}", f"H{WIDTH - RIGHT}"
    return start + "".join(f"H{x}V{y}" for x, y in steps.items()) + end
