"""The knee and the frontier: exact curves, noise, other shapes, and points by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics.intervals import Interval
from bench.statistics.knee import Place, Point, fit, pareto

LOADS = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def curve(loads: list[int], ceiling: float = 43.0, half_at: float = 38.0) -> list[float]:
    return [ceiling * n / (n + half_at) for n in loads]


@settings(max_examples=50)
@given(st.floats(1, 1e5), st.floats(0.5, 2_000))
def test_an_exact_curve_is_found_exactly(ceiling: float, half_at: float) -> None:
    found = fit(LOADS, curve(LOADS, ceiling, half_at))
    assert found is not None
    assert (found.ceiling, found.half_at) == pytest.approx((ceiling, half_at), rel=1e-6)
    assert found.warning is None
    assert found.ninety_percent_at == pytest.approx(9 * half_at, rel=1e-6)


def test_the_knee_does_not_depend_on_how_far_the_sweep_went() -> None:
    rng = np.random.default_rng(0)
    loads = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    seen = np.asarray(curve(loads)) * rng.lognormal(0, 0.005, len(loads))
    knees = [fit(loads[:n], list(seen[:n])) for n in (9, 10, 11)]
    assert [knee.half_at for knee in knees if knee] == pytest.approx([38.0] * 3, rel=0.03)


def test_its_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).lognormal(0, 0.02, len(LOADS))
        found = fit(LOADS, list(np.asarray(curve(LOADS)) * noise))
        assert found is not None
        assert found.half_at_interval is not None
        hits += found.half_at_interval.low <= 38.0 <= found.half_at_interval.high
    assert 180 <= hits <= 198


def test_a_cap_on_sequences_is_warned_of() -> None:
    capped = [min(x, curve([32])[0]) for x in curve(LOADS)]
    found = fit(LOADS, capped)
    assert found is not None
    assert found.warning is not None
    assert "another limit may bind there" in found.warning, "with one run per load this may be chance"
    thrice = fit(LOADS * 3, [x * vary for vary in (0.98, 1.0, 1.02) for x in capped])
    assert thrice is not None
    assert thrice.warning is not None
    assert "further than its runs vary: another limit binds there, such as a cap on sequences" in thrice.warning


def test_runs_that_vary_by_more_than_they_lie_off_the_curve_show_no_other_limit() -> None:
    """Eight users are 7% below the curve. Runs that vary by 1% show that, runs that vary by 20% do not."""
    seen = np.asarray(curve(LOADS))
    seen[3] *= 0.93
    wide, narrow = (
        fit(LOADS * 3, np.concatenate([seen * (1 - spread), seen, seen * (1 + spread)]).tolist())
        for spread in (0.2, 0.01)
    )
    assert wide is not None
    assert narrow is not None
    assert wide.warning is None
    assert min(wide.residuals) < -0.05
    assert narrow.warning is not None


def test_a_load_at_which_the_server_nearly_stood_still_leaves_the_curve_without_an_interval() -> None:
    found = fit([1, 2, 4, 8], [589, 579, 3.3, 593])
    assert found is not None
    assert (found.half_at_interval, found.warning is None) == (None, False)
    assert fit([8, 16, 32, 64], [800, 1_600, 3_200, 5]) is None


def test_a_throughput_that_grows_with_the_load_has_no_knee() -> None:
    proportional = fit(LOADS, [2.0 * n for n in LOADS])
    assert proportional is None or proportional.half_at > 1e6
    # Loads of 1 to 8 on a server whose ceiling is out of reach. With 1% of noise, a fit claimed "556 users, a ceiling
    # of 25,265".
    assert fit([1, 2, 4, 8], [45.42, 90.36, 181.2, 358.3]) is None
    far = fit([1, 2, 4, 8], curve([1, 2, 4, 8]))
    assert far is not None, "exact points determine a knee far beyond them"
    assert far.half_at == pytest.approx(38.0)
    assert fit(LOADS, [n**1.2 for n in LOADS]) is None


def test_a_throughput_that_is_flat_from_the_start_has_its_knee_at_nothing() -> None:
    found = fit(LOADS, [10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 10.0, 9.8, 9.7])
    assert found is not None
    assert found.half_at == 0.0
    assert found.ceiling == pytest.approx(10, rel=0.02)
    assert found.half_at_interval is None


@pytest.mark.parametrize(
    ("loads", "seen"),
    [([1, 2, 4], [1.0, 2.0, 3.0]), ([1, 2, 4, 8], [1.0, 0.0, 2.0, 3.0]), ([4] * 5, [1.0] * 5)],
)
def test_too_few_points_have_no_knee(loads: list[int], seen: list[float]) -> None:
    assert fit(loads, seen) is None


def test_the_frontier_is_what_no_other_point_beats() -> None:
    points = [Point(100, 10), Point(50, 50), Point(40, 40), Point(10, 90), Point(10, 80)]
    assert [place.on_frontier for place in pareto(points)] == [True, True, False, True, False]
    assert not any(place.overlaps for place in pareto(points))


def test_a_point_that_its_intervals_do_not_tell_from_the_frontier_is_marked() -> None:
    best = Point(50, 50, Interval(48, 52), Interval(49, 51))
    near = Point(49, 49, Interval(47, 51), Interval(40, 58))
    far = Point(40, 40, Interval(39, 41), Interval(39, 41))
    assert pareto([best, near, far]) == [Place(True, False), Place(False, True), Place(False, False)]


def test_equal_points_are_both_on_the_frontier() -> None:
    assert [place.on_frontier for place in pareto([Point(1, 1), Point(1, 1)])] == [True, True]
