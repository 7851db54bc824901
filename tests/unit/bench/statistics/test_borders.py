"""Where one answer turns into another: each border, and formulas against an independent computation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.statistics.autocorrelation import Dependence
from bench.statistics.between_runs import (
    Answer,
    Difference,
    Spread,
    batches,
    few_candidates,
    no_events,
    paired,
    spread,
    welch,
)
from bench.statistics.intervals import (
    Interval,
    TooFew,
    grouped_dependence,
    grouped_intervals,
    quantile_interval,
    quantile_intervals,
    ratio_interval,
    share_interval,
)
from bench.statistics.knee import Knee, Place, Point, fit, pareto
from bench.statistics.steady_state import Halves, halves
from bench.statistics.student import t_quantile, two_sided
from tests.support import scipy_stats as stats

SURE = Difference(0.08, 0.02, 0.14, 0.01, 0.1, 8, ratio=True)


# Between runs.


@pytest.mark.parametrize(
    ("found", "margin", "answer"),
    [
        (replace(SURE, p=0.049), 0.05, Answer.DIFFERS),
        (replace(SURE, p=0.05), 0.05, Answer.NOT_SHOWN),
        (SURE, 0.08, Answer.DIFFERS),
        (replace(SURE, change=-0.08, low=-0.14, high=-0.02), 0.08, Answer.DIFFERS),
        (SURE, 0.0801, Answer.NOT_SHOWN),
        (SURE, 0.14, Answer.NOT_SHOWN),
        (SURE, 0.1401, Answer.SAME),
        (replace(SURE, change=-0.08, low=-0.14, high=-0.02), 0.14, Answer.NOT_SHOWN),
        (replace(SURE, change=-0.08, low=-0.14, high=-0.02), 0.1401, Answer.SAME),
    ],
)
def test_a_difference_is_no_smaller_than_the_margin_and_sameness_lies_within_it(
    found: Difference, margin: float, answer: Answer
) -> None:
    assert found.answer(margin) is answer


def test_a_difference_turned_round_is_that_from_b_to_a() -> None:
    ratio = replace(SURE, change=0.25, low=-0.2, high=1.0).reversed()
    assert (ratio.change, ratio.low, ratio.high) == pytest.approx((-0.2, -0.5, 0.25))
    share = replace(SURE, change=0.25, low=-0.2, high=1.0, ratio=False).reversed()
    assert (share.change, share.low, share.high) == (-0.25, -1.0, 0.2)


def test_two_runs_are_enough_where_two_are_asked_for() -> None:
    a, b = [100.0, 104.0], [110.0, 113.0]
    assert paired(a, b).degrees == 1
    assert welch(a, b).p == pytest.approx(stats.ttest_ind(np.log(b), np.log(a), equal_var=False).pvalue)
    x = np.log(a)
    candidates = np.log([110.0, 113.0])
    found = few_candidates(a, [110.0, 113.0])
    t = (candidates.mean() - x.mean()) / (x.std(ddof=1) * math.sqrt(1 / 2 + 1 / 2))
    assert found.p == pytest.approx(2 * stats.t.sf(t, 1))
    assert found.change == pytest.approx(math.sqrt(110 * 113) / math.sqrt(100 * 104) - 1)


def test_what_is_refused_is_refused_in_words_of_its_own() -> None:
    for a, b in (([1.0], [1.0]), ([1.0, 2.0], [1.0, 2.0, 3.0])):
        with pytest.raises(ValueError, match=f"there are {len(a)} and {len(b)}"):
            paired(a, b)
    for a, b in (([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match=f"two runs a side: there are {len(a)} and {len(b)}"):
            welch(a, b)
    for a, b in (([1.0], [1.0]), ([1.0, 2.0], [])):
        with pytest.raises(ValueError, match="two baseline runs, and a comparison a candidate"):
            few_candidates(a, b)
    for values in ([1.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="not positive"):
            spread(values)
    with pytest.raises(ValueError, match="needs a run"):
        spread([])


def test_runs_that_agree_exactly_leave_the_degrees_of_freedom_of_both_sides_together() -> None:
    assert welch([5.0] * 2, [5.0] * 3).degrees == 3.0
    assert welch([5.0] * 2, [5.0] * 3).p == 1.0


def test_the_smallest_change_that_would_be_found_is_that_of_a_t_test_with_a_power_of_four_fifths() -> None:
    a, b = [10.0, 11.0, 12.0, 10.5], [10.2, 11.4, 12.1, 10.4]
    differences = np.asarray(b) - np.asarray(a)
    error = differences.std(ddof=1) / 2
    found = paired(a, b, ratio=False)
    assert found.seen_from == pytest.approx((stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)) * error)
    assert found.change == pytest.approx(differences.mean())


def test_the_spread_of_runs_is_their_t_interval() -> None:
    values = [0.02, 0.05, 0.03, 0.04]
    found = spread(values, ratio=False)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.n, found.mean, found.sd) == (4, pytest.approx(0.035), pytest.approx(np.std(values, ddof=1)))
    assert (found.low, found.high) == pytest.approx((low, high))
    log = spread([100.0, 110.0])
    reach = stats.t.ppf(0.975, 1) * math.log(1.1) / 2
    middle = math.sqrt(100 * 110)
    assert (log.mean, log.low, log.high) == pytest.approx((middle, middle / math.exp(reach), middle * math.exp(reach)))
    assert log.sd == pytest.approx(math.log(1.1) / math.sqrt(2))
    one = spread([4.0])
    assert replace(one, mean=4.0) == Spread(1, 4.0, None, None, None)
    assert one.mean == pytest.approx(4.0)


def test_a_batch_may_be_just_five_times_its_dependence() -> None:
    assert batches(list(range(1_000)), max, act=20.0) == [99 + 100 * i for i in range(10)]
    assert batches(list(range(1_000)), max, act=20.01) is None


def test_where_nothing_happened_on_either_side_nothing_changed_as_far_as_can_be_seen() -> None:
    assert no_events(600.0, 300.0) == Difference(0.0, -0.01, 0.01, 1.0, 0.01, math.inf, ratio=False)
    assert [no_events(few, 300.0).high for few in (4.0, 3.0, 2.0, 0.0)] == [0.75, 1.0, 1.0, 1.0]


# Steady state.


def test_a_change_at_the_border_is_not_mentioned() -> None:
    assert not Halves(0.05, 0.001, 30).drifted
    assert Halves(0.051, 0.001, 30).drifted
    assert Halves(-0.051, 0.0099, 30).drifted
    assert not Halves(0.2, 0.01, 30).drifted


def test_twenty_values_are_enough_and_their_middle_is_between_the_halves() -> None:
    series = [10.0, 12.0] * 10
    found = halves(series)
    assert found is not None
    assert found.change == 0.0
    # With an odd number, the middle value is in neither half: 11 of 10, then 0, then 11 of 20.
    odd = halves([10.0] * 11 + [0.0] + [20.0] * 11)
    assert odd is not None
    assert odd.change == pytest.approx(10 / (330 / 23))


# Intervals.


def test_one_value_too_few_says_so() -> None:
    assert quantile_intervals(np.arange(19.0), {"p50": 0.5})["p50"] == TooFew(1.0, 6, 1)
    assert quantile_interval(np.arange(20.0), 0.99, Dependence(20, 2.0)) == TooFew(10.0, 368, 716)
    assert quantile_interval([], 0.5, Dependence(0, 1.0)) == TooFew(0.0, 6, 20)
    assert isinstance(quantile_interval(np.arange(20.0), 0.5, Dependence(20, 20 / 6)), Interval)
    assert quantile_interval(np.arange(20.0), 0.5, Dependence(20, 4.0)) == TooFew(5.0, 6, 4)


def test_without_any_group_nothing_is_known() -> None:
    none = TooFew(0.0, 10, 20)
    assert grouped_intervals([], [], {"p50": 0.5}) == {"mean": none, "p50": none}
    assert ratio_interval([], []) == ratio_interval([1.0], [0]) == none
    assert grouped_dependence([], [], 5) == Dependence(0, 1.0)
    # Groups that are too few to show a correlation are worth one value together, also if they are a sample of 300.
    for groups in (3, 19):
        values = [float(i * 7 % 5) for i in range(groups)]
        assert grouped_dependence(values, [1] * groups) == Dependence(groups, float(groups))
        assert grouped_dependence(values, [1] * groups, 300) == Dependence(groups, float(groups))
    enough = grouped_dependence([float(i * 7 % 5) for i in range(20)], [1] * 20)
    assert (enough.n, enough.d < 20) == (20, True)
    assert grouped_intervals([1.0], [0, 1, 0], {})["mean"] == TooFew(1.0, 10, 19)


def test_twenty_values_have_a_share() -> None:
    found = share_interval([0, 1] * 10, Dependence(20, 9.0))
    # The values alternate, so they are worth 10: Wilson's interval of 5 of 10.
    assert isinstance(found, Interval)
    wilson = stats.binomtest(5, 10).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))


# Student's t.


def test_the_ends_of_the_distribution() -> None:
    assert two_sided(1e200, 3) == 0.0
    assert two_sided(0.0, 3) == 1.0
    assert t_quantile(0.5, 3) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="with -1 degrees"):
        t_quantile(0.5, -1)


# Knee and frontier.


def test_the_intervals_of_a_knee_are_those_of_a_weighted_regression() -> None:
    loads = np.array([1, 2, 4, 8, 16, 32, 64.0])
    seen = 43 * loads / (loads + 38) * np.array([1.01, 0.98, 1.02, 0.99, 1.0, 1.015, 0.985])
    (b, a), covariance = np.polyfit(loads, loads / seen, 1, w=seen / loads, cov=True)
    found = fit(list(loads), list(seen))
    assert found is not None
    assert found.ceiling_interval is not None
    assert found.half_at_interval is not None
    t = stats.t.ppf(0.975, 5)
    reach = t * math.sqrt(covariance[0, 0]) / b
    assert found.ceiling == pytest.approx(1 / b)
    assert (found.ceiling_interval.low, found.ceiling_interval.high) == pytest.approx(
        (math.exp(-reach) / b, math.exp(reach) / b)
    )
    gradient = np.array([-1 / b, 1 / a])
    reach = t * math.sqrt(gradient @ covariance @ gradient)
    assert (found.half_at_interval.low, found.half_at_interval.high) == pytest.approx(
        (a / b * math.exp(-reach), a / b * math.exp(reach))
    )
    assert found.residuals == pytest.approx(seen / (found.ceiling * loads / (loads + found.half_at)) - 1)


@pytest.mark.parametrize(
    ("residuals", "says"),
    [((0.0, 0.05, -0.02), None), ((0.0, -0.05), None), ((0.02, 0.12), "12% above"), ((0.05, -0.08), "8% below")],
)
def test_a_point_off_the_curve_by_more_than_a_twentieth_is_named(
    residuals: tuple[float, ...], says: str | None
) -> None:
    warning = Knee(1.0, 1.0, None, None, residuals).warning
    assert warning is None if says is None else says in str(warning)


def test_three_loads_in_four_points_are_enough_for_a_knee() -> None:
    assert fit([1, 2, 4, 4], [1.0, 1.5, 2.0, 2.1]) is not None
    assert fit([1, 2, 2, 2], [1.0, 1.5, 1.5, 1.6]) is None
    assert fit([1, 2, 4], [1.0, 1.5, 2.0]) is None


def test_only_the_frontier_tells_a_point_apart_from_itself() -> None:
    # The best point is uncertain. The second is certain and certainly beats the third, but is not on the frontier
    # itself.
    best = Point(50, 50, Interval(30, 70), Interval(30, 70))
    second = Point(45, 45, Interval(44, 46), Interval(44, 46))
    third = Point(40, 40, Interval(39, 41), Interval(39, 41))
    assert pareto([best, second, third]) == [Place(True, False), Place(False, True), Place(False, True)]


@pytest.mark.parametrize(
    ("user", "gpu", "overlaps"), [(41.0, 41.0, False), (40.0, 41.0, False), (40.0, 40.0, True), (39.9, 45.0, True)]
)
def test_an_interval_that_touches_the_other_in_both_directions_overlaps(
    user: float, gpu: float, overlaps: bool
) -> None:
    best = Point(50, 50, Interval(user, 60), Interval(gpu, 60))
    assert pareto([best, Point(40, 40)])[1] == Place(False, overlaps)


def test_a_point_as_good_in_one_direction_and_better_in_the_other_beats() -> None:
    assert [p.on_frontier for p in pareto([Point(2, 1), Point(1, 1)])] == [True, False]
    assert [p.on_frontier for p in pareto([Point(1, 2), Point(1, 1)])] == [True, False]
