"""Comparisons of two sides: t tests against scipy, the three answers, the corrections, and false alarms of A against A."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics.between_runs import (
    Answer,
    Difference,
    RunInterval,
    RunShare,
    batches,
    error_by_chance,
    error_within_runs,
    few_candidates,
    no_events,
    one_run_each,
    paired,
    welch,
)
from bench.statistics.multiple import benjamini_hochberg, holm
from tests.support import scipy_stats as stats
from tests.support.comparison_reach import alarms_between_modes, error_alarms

A = [100.0, 104.0, 98.0, 101.0, 103.0]
B = [112.0, 109.0, 111.0, 108.0, 115.0]


def test_welch_is_that_of_scipy_on_logarithms() -> None:
    found, expected = welch(A, B), stats.ttest_ind(np.log(B), np.log(A), equal_var=False)
    bounds = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.degrees == pytest.approx(expected.df)
    assert (found.low, found.high) == pytest.approx((math.expm1(bounds.low), math.expm1(bounds.high)))
    assert found.change == pytest.approx(stats.gmean(B) / stats.gmean(A) - 1)


def test_pairs_are_those_of_scipy_on_logarithms() -> None:
    found, expected = paired(A, B), stats.ttest_rel(np.log(B), np.log(A))
    bounds = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((math.expm1(bounds.low), math.expm1(bounds.high)))


def test_shares_are_compared_as_they_are() -> None:
    found, expected = (
        welch([0.0, 0.01, 0.0], [0.03, 0.02, 0.04], ratio=False),
        stats.ttest_ind([0.03, 0.02, 0.04], [0.0, 0.01, 0.0], equal_var=False),
    )
    assert found.p == pytest.approx(expected.pvalue)
    assert found.change == pytest.approx(0.03 - 0.01 / 3)


def test_a_change_of_the_size_that_is_promised_is_found_in_four_of_five_comparisons() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        a = np.exp(rng.normal(0, 0.03, 6))
        b = np.exp(rng.normal(math.log1p(welch(list(a), list(np.exp(rng.normal(0, 0.03, 6)))).seen_from), 0.03, 6))
        found += welch(list(a), list(b)).p < 0.05
    assert 0.7 < found / 400 < 0.9


@pytest.mark.parametrize(
    ("change", "low", "high", "p", "answer"),
    [
        (0.08, 0.02, 0.14, 0.01, Answer.DIFFERS),
        (-0.08, -0.14, -0.02, 0.01, Answer.DIFFERS),
        (0.02, 0.01, 0.03, 0.001, Answer.SAME),
        (0.0, -0.04, 0.04, 0.9, Answer.SAME),
        (0.02, -0.06, 0.10, 0.5, Answer.NOT_SHOWN),
        (0.04, 0.01, 0.07, 0.01, Answer.NOT_SHOWN),
    ],
)
def test_there_are_three_answers(change: float, low: float, high: float, p: float, answer: Answer) -> None:
    assert Difference(change, low, high, p, 0.1, 8, ratio=True).answer(0.05) is answer


def test_a_corrected_p_decides_in_place_of_its_own() -> None:
    found = Difference(0.08, 0.02, 0.14, 0.03, 0.1, 8, ratio=True)
    assert found.answer(0.05, p=0.12) is Answer.NOT_SHOWN


def test_one_run_each_always_says_that_the_spread_between_runs_is_unknown() -> None:
    assert (welch(A, B).spread_known, one_run_each(A, B).spread_known) == (True, False)
    assert one_run_each(A, B).p == welch(A, B).p


def test_batches_are_contiguous_and_must_be_longer_than_their_dependence() -> None:
    values = list(range(1_005))
    assert batches(values, min, act=3.0) == [i * 100 for i in range(10)]
    assert batches(values, min, act=21.0) is None


def test_two_sides_without_an_error_are_bounded_by_three_over_n() -> None:
    found = no_events(600.0, 300.0)
    assert (found.low, found.high) == (-0.01, 0.01)
    assert found.answer(0.02) is Answer.SAME
    assert found.answer(0.005) is Answer.NOT_SHOWN


def test_a_single_candidate_is_held_against_the_spread_of_the_baseline() -> None:
    baseline, candidate = [100.0, 102.0, 98.0, 101.0, 99.0], [110.0]
    x = np.log(baseline)
    t = (math.log(110) - x.mean()) / (x.std(ddof=1) * math.sqrt(1 + 1 / 5))
    found = few_candidates(baseline, candidate)
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert found.degrees == 4


def test_runs_that_agree_exactly_differ_where_they_differ() -> None:
    assert welch([5.0, 5.0], [5.0, 5.0]).answer() is Answer.SAME
    assert welch([5.0, 5.0], [6.0, 6.0]).answer() is Answer.DIFFERS


def test_error_rates_that_agree_by_chance_show_no_more_than_their_requests() -> None:
    none, some = [RunShare(0.0, 100)] * 2, [RunShare(0.01, 100, 1.0)] * 2
    least = error_by_chance(none, some)
    assert least == pytest.approx(math.sqrt(1 / 202 * 201 / 202 / 202 + 3 / 202 * 199 / 202 / 202))
    a, b = [run.share for run in none], [run.share for run in some]
    assert welch(a, b, ratio=False).p < 1e-9
    assert welch(a, b, ratio=False, least_error=least).p == pytest.approx(2 * stats.norm.sf(0.01 / least), rel=0.01)
    assert welch(a, [0.2, 0.2], ratio=False, least_error=error_by_chance(none, [RunShare(0.2, 100, 1.0)] * 2)).p < 1e-6


def test_failures_that_come_together_are_fewer() -> None:
    none = [RunShare(0.0, 1_000)] * 3
    apart, together = ([RunShare(0.05, 1_000, act)] * 3 for act in (1.0, 25.0))
    assert error_by_chance(none, together) > 4 * error_by_chance(none, apart)


def test_an_error_that_is_partly_known_has_more_degrees_of_freedom() -> None:
    a, b = [0.0, 0.01, 0.0, 0.01], [0.02, 0.03, 0.02, 0.03]
    alone = welch(a, b, ratio=False)
    error = (alone.high - alone.low) / 2 / stats.t.ppf(0.975, alone.degrees)
    assert welch(a, b, ratio=False, least_error=error / 2) == alone
    assert welch(a, b, ratio=False, least_error=1.1 * error).degrees == pytest.approx(1.1**4 * alone.degrees)


@pytest.mark.parametrize(("runs_a", "runs_b"), [(2, 2), (3, 2), (5, 1)])
@pytest.mark.parametrize("rate", [0.002, 0.01])
def test_a_side_that_fails_by_chance_rarely_differs_from_itself(runs_a: int, runs_b: int, rate: float) -> None:
    assert error_alarms(range(250), (runs_a, runs_b), n=100, rate=rate) <= 5


@pytest.mark.parametrize(
    ("test", "a", "b"),
    [(paired, [1.0], [1.0]), (paired, [1.0, 2.0], [1.0]), (welch, [1.0], [1.0, 2.0]), (few_candidates, [1.0], [1.0]),
     (few_candidates, [1.0, 2.0], []), (welch, [1.0, 0.0], [1.0, 2.0])],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(test: object, a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        test(a, b)  # type: ignore[operator]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_keep_the_order_and_never_lower_a_p(ps: list[float]) -> None:
    assert benjamini_hochberg(ps) == pytest.approx(list(stats.false_discovery_control(ps)))
    for corrected in (holm(ps), benjamini_hochberg(ps)):
        assert all(p <= c * (1 + 1e-12) and c <= 1 for p, c in zip(ps, corrected, strict=True))
        in_order = [c for _, c in sorted(zip(ps, corrected, strict=True))]
        assert in_order == pytest.approx(sorted(in_order))


def test_no_metrics_need_no_correction() -> None:
    assert holm([]) == benjamini_hochberg([]) == []


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("runs", [3, 5])
def test_a_side_rarely_differs_from_itself(runs: int) -> None:
    rng = np.random.default_rng(runs)
    alarms = sum(
        welch(list(rng.lognormal(0, 0.05, runs)), list(rng.lognormal(0, 0.05, runs))).answer() is Answer.DIFFERS
        for _ in range(500)
    )
    assert alarms <= 25


def test_pairs_made_in_turn_do_not_take_a_drift_for_a_difference() -> None:
    """A machine slows by 1% per run. ABBA cancels that, AAAAABBBBB does not."""
    rng = np.random.default_rng(4)
    in_turn = one_after_the_other = 0
    for _ in range(300):
        drift = np.exp(0.01 * np.arange(10) + rng.normal(0, 0.01, 10))
        first, second = drift[[0, 3, 4, 7, 8]], drift[[1, 2, 5, 6, 9]]
        in_turn += paired(list(first), list(second)).p < 0.05
        one_after_the_other += welch(list(drift[:5]), list(drift[5:])).p < 0.05
    assert in_turn <= 15
    assert one_after_the_other > 200


def test_the_error_within_runs_is_that_of_their_intervals_on_the_further_side() -> None:
    middle, low = RunInterval(100.0, 90.0, 111.0), RunInterval(100.0, 100.0, 200.0)
    assert middle.error == pytest.approx(math.log(100 / 90) / 1.96, rel=1e-4)
    assert low.error == pytest.approx(math.log(2) / 1.96, rel=1e-4)
    of_both = math.sqrt(middle.error**2 / 4 + low.error**2 / 4 + low.error**2)
    assert error_within_runs([middle, low], [low]) == pytest.approx(of_both)
    assert error_within_runs([middle], []) == pytest.approx(middle.error)
    assert error_within_runs([], []) == 0


@pytest.mark.parametrize("runs", [(2, 2), (3, 2)])
def test_medians_between_two_modes_differ_by_chance_in_few_comparisons(runs: tuple[int, int]) -> None:
    assert alarms_between_modes(range(100), runs) <= 5
