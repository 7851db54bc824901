"""Statistics computed by hand, where a mistake would hide: constant bins, short samples, defaults."""

from __future__ import annotations

import math

import numpy
import pytest

from bench.statistics.autocorrelation import MOST_BINS, act
from bench.statistics.between_runs import spread
from bench.statistics.intervals import Interval, TooFew, Whole, _filled, _residuals, grouped_intervals
from bench.statistics.multiple import benjamini_hochberg, holm
from tests.support import scipy_stats as stats


def test_values_that_alternate_within_each_bin_do_not_hang_together() -> None:
    # Two values per bin, so all bins have the same mean and no dependence is left.
    assert act([1.0, 3.0] * MOST_BINS) == 1.0
    assert act([5.0] * 200) == 1.0


def test_a_spread_is_that_of_ratios_unless_it_is_said_to_be_of_shares() -> None:
    assert spread([1.0, 4.0]).mean == pytest.approx(2.0)
    assert spread([1.0, 4.0], ratio=False).mean == pytest.approx(2.5)


def test_adjusted_p_values_are_those_of_the_papers() -> None:
    # Benjamini and Hochberg: 0.01 * 4 / 1, 0.02 * 4 / 2, 0.03 * 4 / 3, 0.5, none larger than the next.
    assert benjamini_hochberg([0.5, 0.02, 0.01, 0.03]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    # Holm: 4, 3, 2 and 1 times, none smaller than the previous.
    assert holm([0.5, 0.02, 0.01, 0.03]) == pytest.approx([0.5, 0.06, 0.04, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_of_groups_whose_quantile_is_too_uncertain_it_is_said_how_many_more_it_takes() -> None:
    # 100 independent groups of one value each: one value lies above p99, and its error is as large as 1 - p.
    values = [math.sin(7.3 * i) for i in range(100)]
    found = grouped_intervals(values, [1] * 100, {"p50": 0.5, "p99": 0.99})
    assert isinstance(found["p50"], Interval)
    few = found["p99"]
    assert isinstance(few, TooFew)
    # 2.02 standard errors of sqrt(p (1 - p) / n) on each side must be below 1 - p: about 410 values, 400 after
    # correction.
    assert few.needed == pytest.approx(425, rel=0.1)
    assert few.more == pytest.approx(few.needed * 100 / few.effective - 100, rel=0.05)


def test_a_quantile_whose_error_just_reaches_its_end_takes_one_more_group() -> None:
    # 100 groups of one value, alternating 0 and 1: act is 1, so they are worth 50, or 2,500 / 60 after correction.
    certain = 2_500 / 60
    error = stats.t.ppf(0.975, certain / 2 - 1) * math.sqrt(25 / 99) / math.sqrt(certain)
    # In any order, half of the values are at or below the quantile, so the error is the same.
    half_below = Whole(100, 0.5, lambda p: 0.5 + p / 10)
    orders = {"low": 0.9999 * error, "lower in": 1.0001 * error, "high": 1 - 0.9999 * error, "in": 1 - 1.0001 * error}
    found = grouped_intervals([0.0, 1.0] * 50, [1] * 100, orders, half_below)
    assert found["low"] == found["high"] == TooFew(50.0, 51, 1)
    for name in ("lower in", "in"):
        end = found[name]
        assert isinstance(end, Interval)
        at = orders[name]
        assert (end.low, end.high) == pytest.approx((0.5 + (at - error) / 10, 0.5 + (at + error) / 10))


def test_what_a_group_lies_above_the_ratio_of_all_is_its_residual() -> None:
    # 6 for 3 in total: 2 for each.
    assert _residuals(numpy.array([2.0, 4.0]), numpy.array([1, 2])).tolist() == [0.0, 0.0]
    assert _residuals(numpy.array([3.0, 3.0]), numpy.array([1, 2])).tolist() == [1.0, -1.0]
    assert _filled([0, 2, 1, 0]).tolist() == [2, 1]
