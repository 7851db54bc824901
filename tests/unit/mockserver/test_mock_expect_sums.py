"""Sums of random times on a grid: cells of a distribution, masses on a grid, quantiles, and convolutions."""

from __future__ import annotations

import cmath
import math
from itertools import accumulate, pairwise

import pytest

from mockserver.expect.sums import (
    CELLS,
    Grid,
    inverse,
    moments,
    points_of,
    product_sum,
    quantile_of_points,
    repeated_sum,
    spread,
    spread_exactly,
    transform,
)
from promptset.distributions import parse as parse_distribution

MS = 1_000_000


@pytest.mark.parametrize("spec", ["exp:mean=10ms", "lognormal:median=10ms,sigma=0.5"])
def test_four_fifths_of_the_cells_are_even_and_the_tail_is_even_in_its_logarithm(spec: str) -> None:
    distribution = parse_distribution(spec, "time")
    points = points_of(distribution, 100)
    assert len(points) == 102  # One cell below all edges, and one above.
    assert points == sorted(points)
    mean, _ = moments(points)
    assert mean == pytest.approx(distribution.mean(), rel=1e-9)
    *below, whole = accumulate(share for _, share in points)
    assert whole == pytest.approx(1)
    edges = [distribution.quantile(share) for share in below]
    assert len(edges) == 101
    assert (below[0], below[80], below[100]) == pytest.approx((1e-5, 0.999, 1 - 1e-5), rel=1e-6)
    widths = [high - low for low, high in pairwise(edges[:81])]
    assert widths == pytest.approx([(edges[80] - edges[0]) / 80] * 80, rel=1e-5)
    factors = [high / low for low, high in pairwise(edges[80:])]
    assert factors == pytest.approx([(edges[100] / edges[80]) ** (1 / 20)] * 20, rel=1e-5)


def test_a_distribution_of_listed_values_is_these_values() -> None:
    assert points_of(parse_distribution("10ms", "time"), 100) == [(10 * MS, 1.0)]


def test_moments_are_the_mean_and_the_standard_deviation() -> None:
    assert moments([(1.0, 0.25), (5.0, 0.75)]) == pytest.approx((4.0, math.sqrt(3)))


def test_a_point_is_split_between_its_neighbours_and_keeps_its_mean() -> None:
    assert spread([(12.0, 0.5), (15.0, 0.5)], 10.0, 2.0, 6) == [0, 0.5, 0.25, 0.25, 0, 0]
    # Beyond the ends the grid is a ring.
    assert spread([(21.0, 1.0)], 10.0, 2.0, 6) == [0.5, 0, 0, 0, 0, 0.5]
    assert spread([(9.5, 1.0)], 10.0, 2.0, 6) == [0.75, 0, 0, 0, 0, 0.25]
    assert spread([(10.0, 0.5), (10.0, 0.5)], 10.0, 2.0, 4) == [1, 0, 0, 0]


def test_a_point_that_is_split_over_three_cells_keeps_its_variance_too() -> None:
    for value in (6.0, 6.5, 7.0, 7.5):
        masses = spread_exactly([(value, 1.0)], 2.0, 8)
        at = [2.0 * cell for cell in range(8)]
        mean = sum(x * mass for x, mass in zip(at, masses, strict=True))
        assert (sum(masses), mean) == pytest.approx((1, value))
        assert sum((x - mean) ** 2 * mass for x, mass in zip(at, masses, strict=True)) == pytest.approx(0, abs=1e-12)
    ring = spread_exactly([(15.0, 1.0), (0.5, 1.0)], 2.0, 8)  # 15 / 2 rounds to cell 8, which is cell 0.
    assert ring == pytest.approx(
        [0.75 + 15 / 16, (0.25 - 0.5) / 2 + (1 / 16 + 1 / 4) / 2, 0, 0, 0, 0, 0, 0.375 - 3 / 32]
    )


def test_a_quantile_of_a_grid_lies_inside_its_cell() -> None:
    grid = Grid(10.0, 2.0, [0.5, 0.0, 0.25, 0.25])
    # The mass of a point is spread evenly over the cell around it: from 9 to 11, 13 to 15, and 15 to 17.
    shares = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0)
    assert [grid.quantile(share) for share in shares] == [9, 10, 11, 14, 15, 16, 17]
    # Masses count in proportion to their sum.
    assert Grid(10.0, 2.0, [1.0, 1.0]).quantile(0.25) == 10


def test_a_quantile_of_points_is_the_first_with_enough_mass() -> None:
    points = [(30.0, 0.25), (10.0, 0.25), (20.0, 0.5)]
    assert [quantile_of_points(points, share) for share in (0.1, 0.25, 0.26, 0.75, 0.76, 1.0)] == [
        10,
        10,
        20,
        20,
        30,
        30,
    ]
    assert quantile_of_points([(1.0, 0.3), (2.0, 0.3)], 0.9) == 2.0


def test_a_transform_is_the_sum_of_its_definition_and_can_be_undone() -> None:
    masses = [0.5, 0.25, 0.125, 0.0, 0.0, 0.125, 0.0, 0.0]
    expected = [sum(mass * cmath.exp(-2j * math.pi * k * n / 8) for n, mass in enumerate(masses)) for k in range(8)]
    assert transform(masses) == pytest.approx(expected)
    assert inverse(transform(masses)) == pytest.approx(masses)
    assert transform([3.0]) == [3]


def shares_of(grid: Grid) -> dict[int, float]:
    """The mass near each whole number."""
    near: dict[int, float] = {}
    for i, mass in enumerate(grid.masses):
        if abs(mass) > 1e-9:
            at = round(grid.low + i * grid.step)
            near[at] = near.get(at, 0.0) + mass
    return near


def test_a_first_time_and_a_product_are_summed_on_a_grid_between_their_extremes() -> None:
    grid = product_sum([(100.0, 0.5), (300.0, 0.5)], [(2.0, 0.5), (3.0, 0.5)], [(10.0, 0.25), (20.0, 0.75)])
    # The products are 20, 30, 40 and 60.
    assert shares_of(grid) == pytest.approx(
        {f + p: 0.5 * share for f in (100, 300) for p, share in ((20, 0.125), (30, 0.125), (40, 0.375), (60, 0.375))}
    )
    assert (grid.low, len(grid.masses)) == (120.0, CELLS)
    assert grid.low + (CELLS - 8) * grid.step == pytest.approx(360)
    # Without any spread the cells have the least width.
    assert product_sum([(5.0, 1.0)], [(1.0, 1.0)], [(2.0, 1.0)]).step == 1e-9


def test_a_sum_of_several_times_has_the_distribution_of_each_count() -> None:
    first, counts, each = (
        [(100.0, 0.5), (400.0, 0.5)],
        [(0.0, 0.25), (1.0, 0.25), (3.0, 0.5)],
        [(10.0, 0.5), (20.0, 0.5)],
    )
    grid = repeated_sum(first, counts, each)
    sums = {0: 0.25, 10: 0.125, 20: 0.125, 30: 0.0625, 40: 0.1875, 50: 0.1875, 60: 0.0625}
    expected = {f + at: share / 2 for f in (100, 400) for at, share in sums.items()}
    assert shares_of(grid) == pytest.approx(expected, abs=1e-6)
    assert grid.low == 100.0
    assert grid.low + (CELLS - 8) * grid.step == pytest.approx(400 + 60)
    coarse = repeated_sum(first, counts, each, 512)
    assert len(coarse.masses) == 512
    assert coarse.low + (512 - 8) * coarse.step == pytest.approx(460)
    assert [coarse.quantile(share) for share in (0.1, 0.9)] == pytest.approx([100, 450], abs=2 * coarse.step)


def test_a_long_sum_reaches_eight_deviations_and_one_extreme_beyond_its_mean() -> None:
    # 10,000 values of 0 or 10: the mean of the sum is 50,000, its standard deviation 500.
    grid = repeated_sum([(0.0, 1.0)], [(10_000.0, 1.0)], [(0.0, 0.5), (10.0, 0.5)])
    assert grid.low == pytest.approx(50_000 - 8 * 500 - 5)
    assert grid.low + (CELLS - 8) * grid.step == pytest.approx(50_000 + 8 * 500 + 10)
    assert grid.quantile(0.5) == pytest.approx(50_000, abs=6)
    assert grid.quantile(0.8413447) == pytest.approx(50_500, abs=6)
