"""Intervals keep what they promise: coverage by simulation, with a wrong method beside the right one."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from scipy import stats

from bench.metrics.intervals import clustered_intervals, mean_interval, order_ranks, quantile_interval
from bench.metrics.quantile import QUANTILES, quantile

TRIALS = 300


@pytest.mark.parametrize("n", [6, 13, 37, 100, 368, 999, 5_000, 1_000_000])
@pytest.mark.parametrize("p", QUANTILES.values())
def test_ranks_are_the_exact_binomial_ones(n: int, p: float) -> None:
    ranks = order_ranks(n, p)
    # B < l and B >= u, each with at most 2.5%, and the next rank would be too much.
    lower = next(k for k in range(int(n * p - 6 * (n * p) ** 0.5) - 2, n + 1) if stats.binom.cdf(k, n, p) > 0.025)
    upper = int(stats.binom.isf(0.025, n, p)) + 1
    if ranks is None:
        assert lower < 1 or upper > n
    else:
        assert ranks == (lower, upper)


@pytest.mark.parametrize(("p", "least"), [(0.5, 6), (0.75, 13), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_too_few_values_have_no_interval(p: float, least: int) -> None:
    assert quantile_interval(range(least - 1), p) is None
    assert quantile_interval(range(least), p) is not None


@pytest.mark.parametrize(("n", "p"), [(40, 0.5), (40, 0.9), (400, 0.99)])
def test_an_interval_of_a_quantile_covers_it(n: int, p: float) -> None:
    rng = random.Random(1)
    truth = stats.expon.ppf(p)
    hits = 0
    for _ in range(1_000):
        low, high = quantile_interval(sorted(rng.expovariate(1) for _ in range(n)), p) or (0, 0)
        hits += low <= truth <= high
    assert hits / 1_000 >= 0.94


def _autoregressive(rng: random.Random, n: int, rho: float) -> list[float]:
    values, x = [], rng.gauss(0, 1)
    for _ in range(n):
        values.append(10 + x)
        x = rho * x + rng.gauss(0, (1 - rho * rho) ** 0.5)
    return values


def test_the_interval_of_a_mean_covers_it_with_few_values() -> None:
    rng = random.Random(2)
    hits = 0
    for _ in range(TRIALS):
        interval = mean_interval([rng.expovariate(1) for _ in range(30)], rng)
        assert interval is not None
        hits += interval[0] <= 1 <= interval[1]
    assert 0.9 <= hits / TRIALS <= 0.99


def test_blocks_hold_up_where_neighbours_resemble_each_other() -> None:
    rng = random.Random(3)
    blocks = single = 0
    for _ in range(TRIALS):
        values = _autoregressive(rng, 400, 0.5)
        interval = mean_interval(values, rng)
        assert interval is not None
        blocks += interval[0] <= 10 <= interval[1]
        # The textbook interval takes each value for a new one.
        half = 1.96 * float(stats.sem(values))
        mean = sum(values) / len(values)
        single += mean - half <= 10 <= mean + half
    assert blocks / TRIALS >= 0.88
    assert single / TRIALS < 0.82


def test_a_mean_of_few_values_has_no_interval() -> None:
    assert mean_interval([1.0] * 19, random.Random(0)) is None
    assert mean_interval([1.0] * 20, random.Random(0)) == pytest.approx((1.0, 1.0))


def _requests(rng: random.Random, count: int) -> list[list[float]]:
    """Each request has a speed of its own, which all its tokens share."""
    requests = []
    for _ in range(count):
        level = rng.gauss(20, 4)
        requests.append([level + rng.gauss(0, 1) for _ in range(rng.randrange(10, 60))])
    return requests


@pytest.fixture(scope="module")
def coverage() -> dict[str, tuple[float, float]]:
    """How often each interval held the truth: from whole requests, and from tokens as if they were independent."""
    rng = random.Random(4)
    truths = {"mean": 20.0} | {name: float(stats.norm.ppf(QUANTILES[name], 20, 17**0.5)) for name in ("p50", "p90")}
    hits = {name: [0, 0] for name in truths}
    for _ in range(100):
        requests = _requests(rng, 60)
        pooled = sorted(x for request in requests for x in request)
        mean = sum(pooled) / len(pooled)
        half = 1.96 * float(stats.sem(pooled))
        found = clustered_intervals(requests, 60, lambda p, pooled=pooled: quantile(pooled, p), mean, rng)
        for name, truth in truths.items():
            alone = (mean - half, mean + half) if name == "mean" else quantile_interval(pooled, QUANTILES[name])
            for position, interval in enumerate((found[name], alone)):
                assert interval is not None
                hits[name][position] += interval[0] <= truth <= interval[1]
    return {name: (whole / 100, alone / 100) for name, (whole, alone) in hits.items()}


@pytest.mark.parametrize("name", ["mean", "p50", "p90"])
def test_whole_requests_cover_where_tokens_alone_do_not(name: str, coverage: dict[str, tuple[float, float]]) -> None:
    whole, alone = coverage[name]
    assert whole >= 0.88
    assert alone < 0.6


def test_a_sample_of_the_requests_speaks_for_all_of_them() -> None:
    rng = random.Random(5)
    requests = _requests(rng, 1_600)
    pooled = sorted(x for request in requests for x in request)
    mean = sum(pooled) / len(pooled)

    def interval(sample: list[list[float]]) -> tuple[float, float]:
        found = clustered_intervals(sample, 1_600, lambda p: quantile(pooled, p), mean, random.Random(6))["p50"]
        assert found is not None
        return found

    whole, part = interval(requests), interval(requests[:400])
    assert part[1] - part[0] == pytest.approx(whole[1] - whole[0], rel=0.25)


def test_few_requests_have_no_interval_however_many_tokens_they_have() -> None:
    requests = [[float(i + j) for j in range(500)] for i in range(19)]
    found = clustered_intervals(requests, 19, lambda p: p, 0.0, random.Random(0))
    assert set(found.values()) == {None}


def test_an_interval_holds_its_estimate() -> None:
    rng = random.Random(7)
    requests = _requests(rng, 50)
    pooled = sorted(x for request in requests for x in request)
    found = clustered_intervals(requests, 50, lambda p: quantile(pooled, p), 20.0, rng)
    for name, p in QUANTILES.items():
        interval = found[name]
        if interval is not None:
            assert interval[0] <= quantile(pooled, p) <= interval[1]
            assert bisect_right(pooled, interval[1]) > 0
