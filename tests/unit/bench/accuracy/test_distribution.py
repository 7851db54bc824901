"""The ledger's own quantiles, against numpy and a sorted list."""

from __future__ import annotations

import math

import numpy
import pytest

from bench.accuracy.distribution import Distribution
from bench.rng import stream

LEVELS = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def values(n: int) -> list[float]:
    chance = stream(3, "values")
    return [chance.expovariate(1.0) * 20 - 1 for _ in range(n)]


def made(held: list[float], exact: int = 200_000) -> Distribution:
    found = Distribution(exact)
    for start in range(0, len(held), 7):
        found.add(held[start : start + 7])
    return found


@pytest.mark.parametrize("n", [1, 2, 257, 5_000])
def test_exact_quantiles_are_those_of_numpy(n: int) -> None:
    held = values(n)
    stats = made(held).stats()
    assert stats["mean"] == pytest.approx(numpy.mean(held))
    assert stats["max"] == max(held)
    assert ("p999" in stats) == (n >= 1_000)
    for name in set(stats) & set(LEVELS):
        assert stats[name] == pytest.approx(float(numpy.quantile(held, LEVELS[name])))


def test_folded_quantiles_are_off_by_a_thirty_thousandth_at_most() -> None:
    held = values(20_000)
    folded = made(held, exact=1_000)
    for name, level in LEVELS.items():
        expected = float(numpy.quantile(held, level))
        assert folded.stats()[name] == pytest.approx(expected, rel=2**-15 * 1.01)
        assert folded.stats()[name] != expected  # The distribution is folded by now.
    assert (folded.min, folded.max) == (min(held), max(held))
    assert (folded.at_rank(0), folded.at_rank(folded.n - 1)) == (min(held), max(held))
    assert folded.mean == pytest.approx(numpy.mean(held))


def test_negative_values_and_zero_keep_their_order_when_folded() -> None:
    held = [-3.0, -0.001, 0.0, 0.001, 3.0] * 10
    folded = made(held, exact=10)
    assert [folded.at_rank(rank) for rank in (0, 10, 20, 30, 49)] == pytest.approx([-3, -0.001, 0, 0.001, 3], rel=1e-4)
    assert folded.count_below(0.0) == 20
    assert folded.count_below(0.0005) == 30


@pytest.mark.parametrize(("one", "other"), [(200_000, 200_000), (100, 200_000), (200_000, 100), (100, 100)])
def test_a_merged_distribution_is_that_of_all_values(one: int, other: int) -> None:
    held = values(900)
    merged = made(held[:500], one)
    merged.add_all(made(held[500:], other))
    assert (merged.n, merged.min, merged.max) == (900, min(held), max(held))
    assert merged.quantile(0.9) == pytest.approx(float(numpy.quantile(held, 0.9)), rel=1e-4)
    assert merged.mean == pytest.approx(numpy.mean(held))


def test_no_values_have_no_statistics() -> None:
    empty = Distribution()
    empty.add([])
    empty.add_all(Distribution())
    assert (empty.n, empty.stats(), empty.count_below(1.0)) == (0, {}, 0)


def test_a_quantile_that_is_a_value_needs_no_neighbour_however_far_that_is() -> None:
    endless = Distribution()
    endless.add([1.0, 2.0, math.inf])
    assert (endless.quantile(0.0), endless.quantile(0.5), endless.quantile(0.25)) == (1.0, 2.0, 1.5)
    assert endless.quantile(0.75) == math.inf
