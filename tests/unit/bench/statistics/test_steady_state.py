"""The cut and the halves: by hand, and by their error rate on series that only wander randomly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics.autocorrelation import act
from bench.statistics.steady_state import Cut, halves, mser
from tests.support import scipy_stats as stats
from tests.unit.bench.statistics.test_autocorrelation import autoregressive


def slow_mser(values: list[int]) -> int:
    """The formula as written, in quadratic time."""
    n = len(values) // 5
    return 5 * min(range(n // 2 + 1), key=lambda d: error_after(values, 5 * d))


@given(st.lists(st.integers(0, 50), min_size=10, max_size=120))
def test_the_cut_is_that_of_the_formula(values: list[int]) -> None:
    found, expected = mser(values), slow_mser(values)
    # If two cuts are equally good, rounding decides, so both must leave an equally small error.
    if found.left_out != expected:
        assert error_after(values, found.left_out) == pytest.approx(error_after(values, expected), abs=1e-9)
    assert found.settled == (found.left_out < len(values) // 5 // 2 * 5)


def error_after(values: list[int], left_out: int) -> float:
    means = [sum(values[i : i + 5]) / 5 for i in range(left_out, len(values) - 4, 5)]
    return float(np.var(means)) / len(means)


def test_a_beginning_that_differs_is_cut_off() -> None:
    rng = np.random.default_rng(1)
    series = np.concatenate((np.linspace(0, 90, 30), rng.normal(100, 1, 170)))
    assert mser(series) == Cut(30, True)


def test_a_series_that_rises_to_its_end_has_not_settled() -> None:
    assert mser(np.linspace(0, 1, 100)) == Cut(50, False)


def test_a_short_series_is_left_whole() -> None:
    assert mser([1, 2, 3]) == Cut(0, True)


def test_the_test_of_the_halves_is_its_formula() -> None:
    x = autoregressive(200, 0.5) + 50 + np.linspace(0, 5, 200)
    t = np.arange(200)
    slope, intercept = np.polyfit(t, x, 1)
    residuals = x - slope * t - intercept
    tau = act(residuals)
    variance = float(residuals @ residuals) / 198
    z = (x[100:].mean() - x[:100].mean()) / math.sqrt(2 * variance * tau / 100)
    found = halves(x)
    assert found is not None
    assert found.degrees == pytest.approx(200 / tau - 2)
    assert found.p == pytest.approx(2 * stats.t.sf(z, 200 / tau - 2), rel=1e-6)
    assert found.change == pytest.approx((x[100:].mean() - x[:100].mean()) / x.mean())


def test_a_series_that_only_wanders_raises_an_alarm_in_few_runs() -> None:
    found = [halves(autoregressive(240, 0.9, seed) + 40) for seed in range(200)]
    assert sum(entry is not None and entry.drifted for entry in found) <= 10
    # Without the correction the same series raise alarms in most runs.
    naive = 0
    for seed in range(200):
        x = autoregressive(240, 0.9, seed) + 40
        naive += stats.ttest_ind(x[:120], x[120:]).pvalue < 0.01
    assert naive > 80


def test_a_drift_is_found() -> None:
    drifting = [autoregressive(240, 0.5, seed) + np.linspace(36, 44, 240) for seed in range(50)]
    assert sum(found is not None and found.drifted for found in map(halves, drifting)) >= 45


def test_a_sure_change_that_is_small_is_not_mentioned() -> None:
    found = halves(np.random.default_rng(0).normal(0, 0.01, 200) + np.linspace(100, 102, 200))
    assert found is not None
    assert found.p < 0.001
    assert not found.drifted


@pytest.mark.parametrize("series", [[], [1.0] * 19, [0.0] * 40])
def test_a_series_that_says_nothing_has_no_test(series: list[float]) -> None:
    assert halves(series) is None


@pytest.mark.parametrize("n", [20, 21, 200, 4_001])
def test_the_slowest_wave_that_is_no_trend_still_leaves_a_degree_of_freedom(n: int) -> None:
    """The wave's correlation time is about 0.25 n, the longest in a series without its linear trend."""
    found = halves(2 + np.cos(2 * np.pi * (np.arange(n) + 0.5) / n))
    assert found is not None
    assert 1.75 < found.degrees < 6
    assert not found.drifted


def test_two_constant_halves_have_a_sure_change() -> None:
    found = halves([1.0] * 50 + [2.0] * 50)
    assert found is not None
    assert found.change == pytest.approx(2 / 3)


def test_a_large_mean_hides_no_transient() -> None:
    # Ten values that are too high, then thirty that alternate.
    series = np.array([9.0] * 10 + [0.0, 1.0] * 15)
    assert mser(series) == mser(series + 1e9) == Cut(10, True)
