"""Intervals of dependent values: ranks against scipy, formulas by hand, and coverage on series with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics.autocorrelation import Dependence, act
from bench.statistics.intervals import (
    Interval,
    TooFew,
    Whole,
    grouped_dependence,
    grouped_intervals,
    mean_interval,
    order_ranks,
    quantile_interval,
    quantile_intervals,
    ratio_interval,
    share_interval,
    values_needed,
)
from tests.support import scipy_stats as stats
from tests.unit.bench.statistics.test_autocorrelation import autoregressive


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("m", [6, 7, 36, 100, 368, 2_000])
def test_ranks_are_the_tightest_that_the_binomial_allows(m: int, p: float) -> None:
    ranks = order_ranks(m, p)
    below = stats.binom(m, p)
    if ranks is None:
        assert below.cdf(0) > 0.025 or below.sf(m - 1) > 0.025
        return
    lower, upper = ranks
    assert below.cdf(lower - 1) <= 0.025 < below.cdf(lower)
    assert below.sf(upper - 1) <= 0.025 < below.sf(upper - 2)


def test_a_quantile_needs_so_many_independent_values() -> None:
    assert [values_needed(p) for p in (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)] == [6, 13, 36, 72, 368, 3_688]


def test_without_dependence_the_interval_is_the_order_statistics() -> None:
    ordered = np.arange(1.0, 101.0)
    assert order_ranks(100, 0.5) == (40, 61)
    assert quantile_interval(ordered, 0.5, Dependence(100, 1.0)) == Interval(40.0, 61.0)


def test_with_dependence_the_ranks_are_shares_of_the_sample() -> None:
    # 1,000 values worth 100: the ranks 40 and 61 of 100 become 391 (just above 39%) and 610 of 1,000.
    ordered = np.arange(1.0, 1_001.0)
    assert quantile_interval(ordered, 0.5, Dependence(1_000, 10.0)) == Interval(391.0, 610.0)


def test_too_few_independent_values_say_how_many_more_it_takes() -> None:
    found = quantile_interval(np.arange(1_000.0), 0.99, Dependence(1_000, 50.0))
    assert found == TooFew(effective=20.0, needed=368, more=368 * 50 - 1_000)
    assert isinstance(found, TooFew)
    assert found.seconds(20.0) == 870.0
    assert found.seconds(0.0) is None


def test_a_mean_is_bounded_by_the_spread_of_its_independent_values() -> None:
    x = autoregressive(4_000, 0.6)
    effective = 4_000 / (2 * act(x))
    certain = effective**2 / (effective + 10)
    reach = stats.t.ppf(0.975, certain / 2 - 1) * x.std(ddof=1) / math.sqrt(certain)
    found = mean_interval(x)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx((x.mean() - reach, x.mean() + reach))


def test_a_mean_of_few_values_has_no_interval() -> None:
    assert mean_interval([1.0] * 19) == TooFew(1.0, 10, 1)
    assert mean_interval([]) == TooFew(0.0, 10, 20)
    slow = np.repeat(np.random.default_rng(0).normal(size=8), 100)
    found = mean_interval(slow)
    assert isinstance(found, TooFew)
    assert found.effective < 10
    assert found.more > 500


@pytest.mark.parametrize("n", [600, 1_000])
def test_short_runs_of_dependent_values_widen_the_interval_of_a_mean_until_it_holds(n: int) -> None:
    # Lognormal values of an AR(1) process with act = 99, worth 3 and 5 independent values: like half a minute close to
    # a capacity.
    found = [mean_interval(np.exp(0.7 * math.sqrt(1 - 0.98**2) * autoregressive(n, 0.98, s))) for s in range(300)]
    known = [interval for interval in found if isinstance(interval, Interval)]
    assert len(known) >= 20
    assert sum(interval.low <= math.exp(0.7**2 / 2) <= interval.high for interval in known) >= 0.95 * len(known)


def test_a_mean_of_many_independent_values_is_bounded_as_closely_as_ever() -> None:
    x = np.random.default_rng(1).normal(size=4_000)
    found = mean_interval(x)
    assert isinstance(found, Interval)
    effective = 4_000 / (2 * act(x))
    usual = stats.t.ppf(0.975, effective - 1) * x.std(ddof=1) / math.sqrt(effective)
    assert (found.high - found.low) / 2 < 1.01 * usual


@pytest.mark.parametrize("a", [0.0, 0.9])
def test_intervals_of_dependent_series_hold_the_truth(a: float) -> None:
    spread = 1 / math.sqrt(1 - a * a)
    truth = {"p50": 0.0, "p90": spread * stats.norm.ppf(0.9)}
    hits = dict.fromkeys((*truth, "mean"), 0)
    for seed in range(100):
        x = autoregressive(3_000, a, seed)
        found = quantile_intervals(x, {"p50": 0.5, "p90": 0.9})
        found["mean"] = mean_interval(x)
        for name, interval in found.items():
            assert isinstance(interval, Interval)
            hits[name] += interval.low <= truth.get(name, 0.0) <= interval.high
    assert all(hits[name] >= 92 for name in hits), hits


def test_quantiles_of_groups_do_not_take_tokens_for_independent_values() -> None:
    """Each group has its own level, so 300 groups of 50 tokens are worth 300 values, not 15,000."""
    hits, plain = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        levels = rng.normal(size=300)
        values = np.repeat(levels, 50) + rng.normal(0, 0.1, 15_000)
        found = grouped_intervals(values, [50] * 300, {"p90": 0.9})["p90"]
        assert isinstance(found, Interval)
        truth = stats.norm.ppf(0.9) * math.sqrt(1.01)
        hits += found.low <= truth <= found.high
        naive = quantile_interval(np.sort(values), 0.9, Dependence(15_000, 1.0))
        assert isinstance(naive, Interval)
        plain += naive.low <= truth <= naive.high
    assert hits >= 92
    assert plain < 50


def test_groups_of_one_are_the_values_themselves() -> None:
    x = np.random.default_rng(5).exponential(size=2_000)
    found = grouped_intervals(x, np.ones(2_000), {"p50": 0.5})
    mean, plain = found["mean"], mean_interval(x)
    assert isinstance(mean, Interval)
    assert isinstance(plain, Interval)
    assert (mean.low, mean.high) == pytest.approx((plain.low, plain.high))
    median = found["p50"]
    assert isinstance(median, Interval)
    assert median.low < np.median(x) < median.high


def test_a_sample_of_groups_is_scaled_to_all_of_them() -> None:
    rng = np.random.default_rng(6)
    values, sizes = rng.normal(10, 1, 40_000), [10] * 4_000
    alone = grouped_intervals(values, sizes, {})["mean"]
    whole = grouped_intervals(values, sizes, {}, Whole(16_000, 10.0, lambda p: 10.0))["mean"]
    assert isinstance(alone, Interval)
    assert isinstance(whole, Interval)
    assert (whole.high - whole.low) / (alone.high - alone.low) == pytest.approx(0.5, rel=0.1)


def test_a_sample_of_groups_that_hang_together_gains_little() -> None:
    levels = np.repeat(np.random.default_rng(7).normal(size=200), 20)
    alone = grouped_intervals(levels, [1] * 4_000, {})["mean"]
    whole = grouped_intervals(levels, [1] * 4_000, {}, Whole(16_000, 0.0, lambda p: 0.0))["mean"]
    assert isinstance(alone, Interval)
    assert isinstance(whole, Interval)
    assert (whole.high - whole.low) / (alone.high - alone.low) > 0.9


def test_groups_without_values_and_no_groups_at_all_are_too_few() -> None:
    assert all(isinstance(found, TooFew) for found in grouped_intervals([], [], {"p50": 0.5}).values())
    assert all(isinstance(found, TooFew) for found in grouped_intervals([1.0], [0, 1, 0], {"p50": 0.5}).values())


@settings(max_examples=30)
@given(st.integers(0, 1_000), st.floats(0.01, 100), st.sampled_from([0.5, 0.9, 0.95]))
def test_an_interval_holds_its_estimate_and_scales_with_the_values(seed: int, scale: float, p: float) -> None:
    x = np.random.default_rng(seed).exponential(size=600)
    found = quantile_intervals(x, {"q": p})["q"]
    assert isinstance(found, Interval)
    assert found.low <= np.quantile(x, p) <= found.high
    scaled = quantile_intervals(x * scale, {"q": p})["q"]
    assert isinstance(scaled, Interval)
    assert (scaled.low, scaled.high) == pytest.approx((found.low * scale, found.high * scale))


def test_an_interval_of_a_sample_lies_around_the_number_of_the_whole() -> None:
    rng = np.random.default_rng(8)
    levels = rng.normal(size=16_000)
    pooled = np.sort(levels)
    whole = Whole(16_000, float(levels.mean()), lambda p: float(np.quantile(pooled, p)))
    found = grouped_intervals(levels[::16], [1] * 1_000, {"p50": 0.5, "p90": 0.9}, whole)
    mean, p90 = found["mean"], found["p90"]
    assert isinstance(mean, Interval)
    assert isinstance(p90, Interval)
    assert (mean.low + mean.high) / 2 == pytest.approx(levels.mean())
    assert p90.low < whole.quantile(0.9) < p90.high
    # With 16,000 values, the p90 of normals is known to 1.96 x sqrt(.09 / 16,000) / density, and to twice that with D =
    # 2 act.
    density = stats.norm.pdf(stats.norm.ppf(0.9))
    least = 2 * 1.96 * math.sqrt(2 * 0.09 / 16_000) / density
    # The sample's dependence is an estimate, and counts more for the whole: the interval gets wider, never narrower.
    assert 0.95 * least < p90.high - p90.low < 2 * least


def test_groups_are_worth_what_their_sums_are_worth() -> None:
    levels = np.repeat(np.random.default_rng(9).normal(size=100), 10)
    values = np.repeat(levels, 4)
    known = grouped_dependence(values, [4] * 1_000)
    assert (known.n, known.effective) == (1_000, pytest.approx(1_000 / (2 * act(levels))))
    assert grouped_dependence([], []).effective == 0


def test_a_ratio_of_known_sums_is_the_mean_of_the_groups() -> None:
    rng = np.random.default_rng(10)
    sizes = rng.integers(1, 50, 400)
    values = [rng.normal(20, 3, size) for size in sizes]
    found = ratio_interval([part.sum() for part in values], sizes)
    expected = grouped_intervals(np.concatenate(values), sizes, {})["mean"]
    assert isinstance(found, Interval)
    assert isinstance(expected, Interval)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert isinstance(ratio_interval([], []), TooFew)


def test_a_share_without_dependence_is_the_interval_of_wilson() -> None:
    happened = np.random.default_rng(11).random(2_000) < 0.1
    k = int(happened.sum())
    known = 2 * act(happened)
    found = share_interval(happened, Dependence(2_000, 1.0))
    assert isinstance(found, Interval)
    m, p = 2_000 / known, k / 2_000
    center = (p + 1.96**2 / (2 * m)) / (1 + 1.96**2 / m)
    reach = 1.96 / (1 + 1.96**2 / m) * math.sqrt(p * (1 - p) / m + 1.96**2 / (4 * m * m))
    assert (found.low, found.high) == pytest.approx((center - reach, center + reach), rel=1e-4)


def test_of_requests_that_never_failed_few_can() -> None:
    # 1,000 requests are worth 250. With no failures, at most 3.84 / 253.84 fail; with only failures, at least the
    # complement.
    found = share_interval([0] * 1_000, Dependence(1_000, 4.0))
    every = share_interval([1] * 1_000, Dependence(1_000, 4.0))
    assert isinstance(found, Interval)
    assert isinstance(every, Interval)
    assert (found.low, found.high) == pytest.approx((0, 3.8415 / 253.8415), rel=1e-4)
    assert (every.low, every.high) == pytest.approx((250 / 253.8415, 1), rel=1e-4)
    assert share_interval([0] * 19, Dependence(19, 1.0)) == TooFew(1.0, 20, 1)
    assert share_interval([], Dependence(0, 1.0)) == TooFew(0.0, 20, 20)


def test_intervals_of_shares_that_come_in_bursts_hold_the_truth() -> None:
    hits = 0
    for seed in range(100):
        x = autoregressive(3_000, 0.9, seed)
        found = share_interval(x > stats.norm.ppf(0.95) / math.sqrt(1 - 0.81), Dependence(3_000, 20.0))
        assert isinstance(found, Interval)
        hits += found.low <= 0.05 <= found.high
    assert hits >= 92


def test_fewer_than_20_values_say_at_least_what_it_takes() -> None:
    x = np.arange(10.0)
    assert quantile_intervals(x, {"p50": 0.5})["p50"] == TooFew(1.0, 6, 10)
    assert quantile_intervals(x, {"p99": 0.99})["p99"] == TooFew(1.0, 368, 358)


def test_a_value_that_occurs_many_times_counts_as_often() -> None:
    chance = np.random.default_rng(5)
    sizes = chance.integers(1, 6, 400)
    values = chance.lognormal(0, 1, sizes.sum()) * np.repeat(chance.lognormal(0, 1, 400), sizes)
    times = chance.integers(1, 9, len(values)).astype(np.float64)
    many = np.repeat(values, times.astype(int))
    many_sizes = np.add.reduceat(times, np.cumsum(sizes) - sizes)
    whole = Whole(4_000, float(many.mean()), lambda p: float(np.quantile(many, p)))
    orders = {"p50": 0.5, "p90": 0.9}
    short = grouped_intervals(values, sizes, orders, whole, times)
    for name, one in grouped_intervals(many, many_sizes, orders, whole).items():
        found = short[name]
        assert isinstance(one, Interval)
        assert isinstance(found, Interval)
        assert (found.low, found.high) == pytest.approx((one.low, one.high), rel=1e-9)
    known = grouped_dependence(values, sizes, 4_000, times)
    assert known.effective == pytest.approx(grouped_dependence(many, many_sizes, 4_000).effective)
