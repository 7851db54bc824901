"""What counts for a capacity: visits, grids and tails, on both sides of each limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics.capacity import Domain, Mean, Posterior, Share, dispersion, grid, mean_of, of_means, of_shares

VISITS = [Share(20.0, 1_200, 2), Share(40.0, 2_400, 300), Share(30.0, 1_800, 20)]


def test_a_visit_without_requests_says_nothing_wherever_it_stands() -> None:
    found = of_shares(VISITS, 0.01, 20, grid(10, 80)).mass
    for at in range(4):
        visits = [*VISITS[:at], Share(25.0, 0, 0), *VISITS[at:]]
        assert of_shares(visits, 0.01, 20, grid(10, 80)).mass == pytest.approx(found)


def test_a_mean_needs_twenty_values_and_one_of_zero_is_far_within_its_limit() -> None:
    assert mean_of(5.0, [2.0] * 19, 1.0) is None
    assert mean_of(5.0, [0.0] * 20, 1.0) == Mean(5.0, math.log(0.01), 1.0)
    found = mean_of(5.0, [2.0] * 20, 1.0)
    # With equal values, the error is the hundredth that a visit cannot see in itself.
    assert found is not None
    assert (found.load, found.log_ratio, found.error) == pytest.approx((5.0, math.log(2.0), 0.01))


@pytest.mark.parametrize(
    ("load", "share", "allowed", "counts"),
    [
        (125.0, 0.0, 0.01, True),
        (125.1, 0.0, 0.01, False),
        (75.0, 0.0, 0.01, True),
        (74.9, 0.0, 0.01, False),
        (100.0, 0.299, 0.01, True),
        (100.0, 0.3, 0.01, False),
        # Three times the odds of a half are three quarters.
        (100.0, 0.749, 0.5, True),
        (100.0, 0.75, 0.5, False),
    ],
)
def test_a_tail_counts_near_the_capacity_where_no_more_than_that_was_overloaded(
    load: float, share: float, allowed: float, counts: bool
) -> None:
    # Another visit near the capacity, with half the act: the mean of both, or only that one.
    tails = [(load, share, 7.0), (100.0, 0.0, 3.0)]
    assert dispersion(tails, 100.0, allowed, 8.0) == (15.0 if counts else 9.0)


def test_without_a_visit_near_the_capacity_the_longest_excursion_that_was_seen_counts() -> None:
    assert dispersion([(50.0, 0.0, 7.0), (40.0, 0.0, 2.0)], 100.0, 0.01, 8.0) == 21.0
    assert dispersion([(50.0, 0.0, 2.0)], 100.0, 0.01, 8.0) == 16.0
    # The act of an overload only shows how long the visit was.
    assert dispersion([(100.0, 0.9, 400.0)], 100.0, 0.01, 8.0) == 16.0


def test_before_a_visit_what_was_scouted_counts_twice_and_ten_at_least() -> None:
    assert [dispersion([], 100.0, 0.01, scouted) for scouted in (4.9, 5.0, 5.1)] == pytest.approx([10.0, 10.0, 10.2])


def test_the_capacity_of_a_mean_lies_where_it_is_its_limit() -> None:
    # A mean at its limit at load 20, below it at 10 and above it at 40: each visit pulls to its side.
    at, under, over = Mean(20.0, 0.0, 0.02), Mean(10.0, -0.7, 0.02), Mean(40.0, 0.7, 0.02)
    capacities = grid(5, 80)
    assert of_means([at], capacities).estimate == pytest.approx(20, rel=0.02)
    assert of_means([under], capacities).low > 10
    assert of_means([over], capacities).high < 40
    assert of_means([under, at, over], capacities).width < of_means([at], capacities).width


def test_a_grid_is_even_in_its_logarithm_and_has_both_ends() -> None:
    assert grid(1, 16, 5).tolist() == pytest.approx([1, 2, 4, 8, 16])
    assert len(grid(1, 2)) == 200


def test_quantiles_are_the_first_capacities_that_have_so_much_mass_below_them() -> None:
    found = Posterior(np.array([1.0, 4.0, 16.0]), np.array([0.025, 0.475, 0.5]))
    assert (found.low, found.estimate, found.high, found.width) == (0.5, 4.0, 32.0, 63.0)
    assert found.quantile(1.0) == 16.0


def test_a_wide_domain_has_a_point_for_each_percent() -> None:
    # From 1 / 16 to 16,000: ln(256,000) = 12.453.
    assert len(Domain(1.0, 1_000.0).grid(0.001, 1e9)) == 1_245
    assert len(Domain(1.0, 1.1).grid(1.0, 1.1)) == 200
