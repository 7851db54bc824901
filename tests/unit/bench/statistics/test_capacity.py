"""The posterior of a capacity: against a slow reference, by its limits, and by its computing time."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics.capacity import (
    Domain,
    Mean,
    Posterior,
    Share,
    deviance_above,
    dispersion,
    grid,
    mean_of,
    odds_times,
    of_means,
    of_shares,
)
from tests.support import statistics_oracle as oracle
from tests.support.searched_server import logistic

VISITS = [Share(20.0, 1_200, 2), Share(40.0, 2_400, 300), Share(30.0, 1_800, 20), Share(33.0, 500, 0)]


@pytest.mark.parametrize("allowed", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("d", [10.0, 75.0, 400.0])
def test_the_posterior_is_that_of_the_slow_reference(allowed: float, d: float) -> None:
    found = of_shares(VISITS, allowed, d, grid(10, 80))
    expected = oracle.capacity_mass([(v.load, int(v.requests), int(v.violations)) for v in VISITS], allowed, d, 10, 80)
    assert found.mass == pytest.approx(expected, abs=1e-10)


def test_without_visits_every_capacity_is_as_likely() -> None:
    found = of_shares([], 0.01, 10, grid(1, 100))
    assert found.estimate == pytest.approx(10, rel=0.03)
    assert found.mass == pytest.approx([1 / 200] * 200)
    assert of_shares([Share(10, 0, 0)], 0.01, 10, grid(1, 100)).mass == pytest.approx(found.mass)


def test_a_load_that_holds_and_one_that_fails_bound_the_capacity() -> None:
    found = of_shares([Share(30, 20_000, 20), Share(40, 20_000, 4_000)] * 3, 0.01, 50, grid(10, 100))
    assert 30 < found.low < found.estimate < found.high < 40
    assert found.holds(30) > 0.99
    assert found.holds(40) < 0.01


def test_far_from_the_capacity_only_the_side_counts() -> None:
    """A visit at half the load without a violation must neither make the edge steeper nor raise the capacity."""
    near = [Share(38, 4_000, 40)]
    far = [Share(5, 4_000, 0), Share(100, 4_000, 4_000)]
    alone, both = of_shares(near, 0.01, 60, grid(20, 70)), of_shares(near + far, 0.01, 60, grid(20, 70))
    assert both.estimate == pytest.approx(alone.estimate, rel=0.03)


def test_the_quantiles_of_a_posterior_are_those_of_its_mass() -> None:
    found = Posterior(np.array([1.0, 4.0, 16.0, 64.0]), np.array([0.02, 0.48, 0.3, 0.2]))
    assert (found.low, found.estimate, found.high) == (2.0, 4.0, 128.0)  # Half a step beyond 4 and 64.
    assert found.width == 63.0
    assert [found.holds(load) for load in (0.5, 4.0, 5.0, 64.0, 90.0)] == pytest.approx([1, 0.98, 0.5, 0.2, 0])


@pytest.mark.parametrize("capacity", [20_030.0, 20_060.0, 20_100.0, 20_140.0, 20_170.0])
def test_the_interval_of_a_fast_server_is_not_narrower_than_a_step_of_the_grid(capacity: float) -> None:
    # Visits of a minute at 20,000 requests per second know the edge better than the grid, whose step is 1%.
    loads = [capacity * math.exp(0.03 * side) for side in (-1, 1, -1, 1)]
    visits = [Share(load, 60 * load, 60 * load * logistic(capacity)(load)) for load in loads]
    found = of_shares(visits, 0.01, 15.0, grid(10_000, 40_000, 140))
    assert found.low <= capacity <= found.high


def test_a_capacity_far_outside_the_domain_of_the_scouts_is_found() -> None:
    domain = Domain(10, 40)
    capacities = domain.grid(0.1, 1_000)
    assert capacities[0] == pytest.approx(10 / 16)
    assert capacities[-1] == pytest.approx(40 * 16)
    nothing = of_shares([], 0.01, 20, capacities, domain=domain)
    assert nothing.holds(10) - nothing.holds(40) > 0.8
    held, broken = [Share(120, 9_000, 0)] * 6, [Share(3, 9_000, 5_000)] * 6
    assert of_shares(held, 0.01, 20, capacities, domain=domain).low > 100
    assert of_shares(broken, 0.01, 20, capacities, domain=domain).high < 3
    between = [Share(20, 9_000, 90)] * 3
    assert of_shares(between, 0.01, 20, capacities, domain=domain).estimate == pytest.approx(20, rel=0.05)


def test_the_prior_falls_by_e_for_each_step_outside_the_domain() -> None:
    domain = Domain(10, 40)
    inside, above, below = domain.log_prior(np.array([20.0, 40 * np.exp(0.3), 10 * np.exp(-0.15)]))
    assert [inside, above, below] == pytest.approx([0, -2, -1])


def test_a_grid_stays_within_the_limits_of_the_search() -> None:
    capacities = Domain(10, 40).grid(8, 50)
    assert (capacities[0], capacities[-1]) == pytest.approx((5, 80))


def test_a_share_above_what_is_allowed_has_a_deviance() -> None:
    assert deviance_above(1, 100, 0.01) == 0
    assert deviance_above(0, 0, 0.01) == 0
    # 2 (10 ln 10 + 90 ln(0.9 / 0.99))
    assert deviance_above(10, 100, 0.01) == pytest.approx(2 * (10 * np.log(10) + 90 * np.log(0.9 / 0.99)))
    assert deviance_above(5, 5, 0.5) == pytest.approx(10 * np.log(2))


def test_more_dependence_makes_the_interval_wider() -> None:
    widths = [of_shares(VISITS, 0.01, d, grid(10, 80)).width for d in (10.0, 50.0, 250.0)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] / 2


def test_a_mean_on_its_limit_puts_the_capacity_at_the_load() -> None:
    found = of_means([Mean(30, 0.0, 0.02), Mean(27, -0.4, 0.02), Mean(33, 0.4, 0.02)], grid(15, 60))
    assert found.estimate == pytest.approx(30, rel=0.02)
    assert found.low < 30 < found.high
    assert found.width < 0.1


def test_one_bad_visit_does_not_outvote_three_good_ones() -> None:
    good = [Mean(30, 0.0, 0.02), Mean(31, 0.1, 0.02), Mean(29, -0.1, 0.02)]
    assert of_means([*good, Mean(30, 0.35, 0.02)], grid(15, 60)).estimate == pytest.approx(30, rel=0.05)


def test_the_error_of_a_mean_counts_its_dependence() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(100, 40, 4_000)
    alone = mean_of(5.0, values, 110.0)
    waves = mean_of(5.0, np.repeat(values[:400], 10), 110.0)
    assert alone is not None
    assert waves is not None
    assert alone.log_ratio == pytest.approx(math.log(100 / 110), abs=0.02)
    assert alone.error == pytest.approx(math.hypot(0.4 * math.sqrt(2 / 4_000), 0.01), rel=0.1)
    assert waves.error > 1.7 * alone.error
    assert mean_of(5.0, values[:19], 110.0) is None
    assert mean_of(5.0, np.zeros(50), 110.0) == Mean(5.0, math.log(0.01), 1.0)  # The objective holds.


def test_dispersion_comes_from_visits_that_saw_the_edge() -> None:
    tails = [(38.0, 0.01, 40.0), (36.0, 0.0, 2.0), (39.0, 0.02, 60.0), (20.0, 0.1, 1.0), (40.0, 0.6, 900.0)]
    assert dispersion(tails, 38.0, 0.01, 64.0) == pytest.approx(3 * (40 + 2 + 60) / 3)
    assert dispersion(tails[3:], 38.0, 0.01, 64.0) == 128.0
    assert dispersion([], 38.0, 0.01, 2.0) == 10.0


def test_half_of_the_requests_over_a_median_is_no_overload() -> None:
    # With an objective on p50, half of the requests exceed the limit at the capacity itself.
    assert dispersion([(38.0, 0.5, 30.0)], 38.0, 0.5, 64.0) == 90.0


@pytest.mark.parametrize(
    ("p", "factor", "expected"), [(0.01, 3, 0.0294), (0.5, 3, 0.75), (0.5, 6, 0.857), (0.05, 1, 0.05)]
)
def test_odds_are_multiplied_and_not_shares(p: float, factor: float, expected: float) -> None:
    assert odds_times(p, factor) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(5, 100), st.integers(1, 5_000), st.floats(0, 1)), max_size=8),
    st.sampled_from([0.01, 0.05, 0.1, 0.5]),
    st.floats(1, 500),
)
def test_a_posterior_is_a_distribution_and_holding_falls_with_the_load(
    rows: list[tuple[float, int, float]], allowed: float, d: float
) -> None:
    found = of_shares([Share(load, n, int(share * n)) for load, n, share in rows], allowed, d, grid(4, 120))
    assert found.mass.min() >= 0
    assert found.mass.sum() == pytest.approx(1)
    assert found.low <= found.estimate <= found.high
    chances = [found.holds(load) for load in (5, 10, 20, 40, 80)]
    assert all(after <= before + 1e-12 for before, after in pairwise(chances))


@settings(max_examples=25)
@given(st.integers(1, 3_000), st.floats(5, 100), st.integers(0, 3_000))
def test_more_violations_never_raise_the_capacity(n: int, load: float, k: int) -> None:
    k = min(k, n - 1)
    fewer = of_shares([Share(load, n, k)], 0.05, 20, grid(4, 120))
    more = of_shares([Share(load, n, k + 1)], 0.05, 20, grid(4, 120))
    assert more.estimate <= fewer.estimate * 1.02
