"""The statistics against published values, against definitions, and for what must hold always."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.statistics import Z, mcnemar, paired_difference, pass_at_k, spread, wilson

counts = st.integers(0, 60)
shares = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(successes: int, total: int, low: float, high: float) -> None:
    found = wilson(successes, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(shares)
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    successes, total = case
    found, mirror = wilson(successes, total), wilson(total - successes, total)
    assert 0 <= found.low <= successes / total <= found.high <= 1
    assert found.low == pytest.approx(1 - mirror.high, abs=1e-12)


@given(shares)
def test_wilson_inverts_the_score_test(case: tuple[int, int]) -> None:
    successes, total = case
    share, found = successes / total, wilson(successes, total)
    for bound in (found.low, found.high):
        if 0 < bound < 1:
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / total) == pytest.approx(Z, rel=1e-6)


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_succeed(case: tuple[int, int, int]) -> None:
    n, c, k = case
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_of_one_and_of_all() -> None:
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(10, 1, 10) == 1
    assert pass_at_k(10, 0, 10) == 0


def test_spread() -> None:
    assert spread([0.5]).sigma is None
    found = spread([2, 4, 4, 4, 5, 5, 7, 9])
    assert (found.mean, found.sigma) == (5, pytest.approx(math.sqrt(32 / 7)))


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    # 1 against 7 is Bentur et al. 2009, as in Fagerland, Lydersen and Laake 2013; the others by hand.
    [(1, 7, 0.0703125), (0, 0, 1.0), (3, 3, 1.0), (0, 5, 2 / 32), (0, 1, 1.0)],
)
def test_mcnemar(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


@given(counts, counts)
def test_mcnemar_is_the_binomial_tail(gained: int, lost: int) -> None:
    n = gained + lost
    tail = sum(math.comb(n, i) for i in range(min(gained, lost) + 1)) / 2**n
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == pytest.approx(min(1, 2 * tail))


def test_mcnemar_of_many_pairs() -> None:
    # The normal approximation is close here.
    assert mcnemar(5000, 5200) == pytest.approx(math.erfc(199 / math.sqrt(10200) / math.sqrt(2)), rel=1e-3)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Altman et al., Statistics with Confidence (2000), table 6.2.
        ((14, 5, 0, 22), 0.011, 0.226),
        # Bentur et al. 2009, as in Fagerland, Lydersen and Laake 2014.
        ((1, 7, 1, 12), 0.026, 0.507),
    ],
)
def test_paired_difference_as_published(table: tuple[int, int, int, int], low: float, high: float) -> None:
    found = paired_difference(*table)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@given(counts, counts, counts, counts)
def test_paired_difference_holds_the_difference_and_mirrors(a: int, b: int, c: int, d: int) -> None:
    found, mirror = paired_difference(a, b, c, d), paired_difference(a, c, b, d)
    difference = (b - c) / (a + b + c + d) if a + b + c + d else 0
    assert -1 <= found.low <= difference + 1e-12 and difference - 1e-12 <= found.high <= 1
    assert found.low == pytest.approx(-mirror.high, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: pass_at_k(3, 4, 1),
        lambda: pass_at_k(3, 1, 4),
        lambda: pass_at_k(3, 1, 0),
        lambda: spread([]),
        lambda: mcnemar(-1, 2),
        lambda: paired_difference(1, -1, 0, 0),
    ],
)
def test_nonsense_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
