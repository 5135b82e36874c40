"""The statistics of reports: intervals, pass@k, and the comparison of two runs on the same theorems.

All intervals are two-sided with a confidence of 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: The quantile of the standard normal distribution for 95 %.
Z = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def wilson(successes: float, total: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson, JASA 22, 1927).

    ``successes`` may be a mean over seeds: with theorems as the units that are drawn, the interval is then
    a little wider than it need be.

    Raises:
        ValueError: not 0 <= successes <= total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total}")
    if total == 0:
        return Interval(0.0, 1.0)
    share = successes / total
    centre = share + Z**2 / (2 * total)
    spread = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    low, high = ((centre + sign * spread) / (1 + Z**2 / total) for sign in (-1, 1))
    # At the ends the exact value is the share itself; rounding must not leave it outside.
    return Interval(max(0.0, min(low, share)), min(1.0, max(high, share)))


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """Return the probability that one of k attempts, drawn from those made, succeeds.

    The unbiased estimator of pass@k, 1 - C(n-c, k) / C(n, k), of Chen et al. 2021, "Evaluating large language
    models trained on code", section 2.1 (arXiv 2107.03374).

    Raises:
        ValueError: not 0 <= successes <= attempts, or not 1 <= k <= attempts.
    """
    if not (0 <= successes <= attempts and 1 <= k <= attempts):
        raise ValueError(f"pass@{k} of {successes} successes in {attempts} attempts")
    return 1.0 - math.comb(attempts - successes, k) / math.comb(attempts, k)


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean and the sample standard deviation; the latter is None for a single value."""

    mean: float
    sigma: float | None


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation (n - 1 in the denominator).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the mean of nothing")
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test, from the numbers of discordant pairs.

    Under the null hypothesis each discordant pair is a fair coin, so this is the binomial test of
    ``min(gained, lost)`` in ``gained + lost`` tosses. It is exact for all counts: no chi-square is needed.

    Raises:
        ValueError: a count is negative.
    """
    if min(gained, lost) < 0:
        raise ValueError(f"{gained} gained, {lost} lost")
    tosses = gained + lost
    term = tail = 1
    for heads in range(min(gained, lost)):
        term = term * (tosses - heads) // (heads + 1)
        tail += term
    return float(min(1.0, 2 * tail / 2**tosses))


def paired_difference(both: int, gained: int, lost: int, neither: int) -> Interval:
    """Return an interval for the gain in the share of successes, ``(gained - lost) / n``.

    Method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17 (1998), 2635-2650: it squares and adds the distances to
    the two Wilson intervals, and takes the correlation of the pairs into account.

    Raises:
        ValueError: a count is negative.
    """
    if min(both, gained, lost, neither) < 0:
        raise ValueError(f"{both} both, {gained} gained, {lost} lost, {neither} neither")
    n = both + gained + lost + neither
    if n == 0:
        return Interval(-1.0, 1.0)
    before, after = (both + lost) / n, (both + gained) / n
    old, new = wilson(both + lost, n), wilson(both + gained, n)
    phi = _correlation(both, gained, lost, neither)
    down = _combine(after - new.low, old.high - before, phi)
    up = _combine(new.high - after, before - old.low, phi)
    return Interval(max(-1.0, after - before - down), min(1.0, after - before + up))


def _combine(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Newcombe's estimate of the correlation, with its continuity correction for positive ones."""
    margins = (both + gained) * (both + lost) * (neither + gained) * (neither + lost)
    if margins == 0:
        return 0.0
    product = both * neither - gained * lost
    corrected = max(0.0, product - (both + gained + lost + neither) / 2) if product > 0 else product
    return float(corrected / math.sqrt(margins))
