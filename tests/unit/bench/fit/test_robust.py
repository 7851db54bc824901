"""Non-negative least squares against scipy's, and the weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bench.fit import robust


@pytest.mark.parametrize("seed", range(30))
def test_it_is_what_scipy_finds(seed: int) -> None:
    from scipy.optimize import nnls

    chance = np.random.default_rng(seed)
    a = chance.uniform(0, 1, (40, 4)) * [1.0, 1000.0, 30.0, 1e5]
    y = a @ chance.normal(0, 1, 4) + chance.normal(0, 1, 40)
    expected, _ = nnls(a, y)
    assert robust.nonnegative(a.T @ a, a.T @ y) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_a_column_of_zeros_and_two_that_are_equal_do_no_harm() -> None:
    a = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [3.0, 3.0, 0.0]])
    x = robust.nonnegative(a.T @ a, a.T @ np.array([2.0, 4.0, 6.0]))
    assert x.tolist() == pytest.approx([2, 0, 0])


@pytest.mark.parametrize("seed", range(30))
def test_of_equal_columns_the_first_gets_the_whole_however_sums_are_rounded(seed: int) -> None:
    chance = np.random.default_rng(seed)
    a = np.column_stack((np.ones(40), chance.uniform(0, 1, 40), np.ones(40)))
    gram, target = a.T @ a, a.T @ (a @ [3.0, 2.0, 3.0])
    # Processors add in different orders: each sum has its own error in the last digits.
    gram *= 1 + 1e-15 * chance.normal(0, 1, gram.shape)
    target *= 1 + 1e-15 * chance.normal(0, 1, 3)
    assert robust.nonnegative(gram, target).tolist() == pytest.approx([6, 2, 0], abs=1e-9)


def test_outliers_have_no_weight() -> None:
    a = np.column_stack((np.ones(60), np.arange(60.0)))
    y = a @ [5.0, 2.0]
    y[::10] += 500
    found = robust.fit(a, y)
    assert found.x == pytest.approx([5, 2])
    assert set(np.flatnonzero(found.weights == 0)) == set(range(0, 60, 10))
    assert robust.nonnegative(a.T @ a, a.T @ y) != pytest.approx([5, 2], rel=0.01)


def test_a_coefficient_that_a_better_one_makes_negative_goes_back_to_0() -> None:
    # The first column is the best single one, but with both others its least-squares value is below 0.
    a = np.array([[2.0, 1.0, 1.0], [2.0, 2.0, 0.0], [2.0, 0.0, 2.0], [1.9, 1.0, 1.0]])
    y = a @ [-0.2, 1.0, 1.1]
    x = robust.nonnegative(a.T @ a, a.T @ y)
    assert x[0] == 0
    two = np.linalg.lstsq(a[:, 1:], y, rcond=None)[0]
    assert x[1:] == pytest.approx(two)


@pytest.mark.parametrize("seed", range(20))
def test_no_coefficient_is_negative_where_columns_are_alike(seed: int) -> None:
    from scipy.optimize import nnls

    chance = np.random.default_rng(seed)
    common = chance.uniform(0, 1, 60)
    a = np.column_stack([common + 0.05 * chance.uniform(0, 1, 60) for _ in range(8)])
    y = a @ chance.normal(0.2, 1, 8) + 0.01 * chance.normal(0, 1, 60)
    x = robust.nonnegative(a.T @ a, a.T @ y)
    expected, _ = nnls(a, y)
    assert (x >= 0).all()
    assert x == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("target", [[0.0, 0.0], [-1.0, -2.0]])
def test_what_no_column_can_bring_nearer_is_0(target: list[float]) -> None:
    assert robust.nonnegative(np.eye(2), np.array(target)).tolist() == [0, 0]


def test_small_and_large_columns_are_of_one_size() -> None:
    a = np.column_stack((np.arange(1.0, 9), 1e-9 * np.array([1.0, 0, 2, 0, 5, 1, 0, 3]), 1e9 * np.ones(8)))
    assert robust.nonnegative(a.T @ a, a.T @ (a @ [3.0, 5e6, 2e-9])) == pytest.approx([3, 5e6, 2e-9], rel=1e-6)


def _weights(y: npt.NDArray[np.float64], fitted: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Tukey's weights at a fit, divided by the square of a spread that is half constant and half proportional; and the
    scale."""
    spread = (1 + fitted / np.median(y)) / 2
    off = (y - fitted) / spread
    scale = float(np.median(np.abs(off))) / 0.6745  # Half of the values of a normal distribution lie within that.
    u = off / (4.685 * scale)
    return np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0) / spread**2, scale


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_fit_is_the_weighted_one_at_tukeys_weights(share: float) -> None:
    chance = np.random.default_rng(3)
    a = np.column_stack((np.ones(400), np.arange(400.0) % 50))
    y = a @ np.array([1000.0, 60.0])
    y += 20 * chance.normal(0, 1, 400) * (1 + y / np.median(y)) / 2
    late = np.arange(400) < share * 400
    y[late] += 3000
    found = robust.fit(a, y)
    weights, scale = _weights(y, a @ found.x)
    assert found.scale == pytest.approx(scale, rel=1e-4)
    assert found.scale == pytest.approx(20, rel=0.1 + 2 * share)
    assert found.weights == pytest.approx(weights, rel=1e-4, abs=1e-6)
    assert found.residuals == pytest.approx(y - a @ found.x)
    best = np.linalg.lstsq(a * np.sqrt(weights)[:, None], y * np.sqrt(weights), rcond=None)[0]
    assert found.x == pytest.approx(best, rel=1e-6)
    assert found.x == pytest.approx([1000, 60], rel=0.01)
    assert set(np.flatnonzero(found.weights == 0)) >= set(np.flatnonzero(late))


def test_values_that_agree_to_the_last_digit_have_a_scale_of_a_millionth() -> None:
    found = robust.fit(np.ones((9, 1)), np.full(9, 250.0))
    assert found.x == pytest.approx([250])
    assert found.scale == pytest.approx(250e-6)
    assert found.weights == pytest.approx(np.ones(9))


def test_many_outliers_on_one_side_do_not_draw_the_fit_away() -> None:
    # One of four rows is far off, always in the same direction. Huber's rounds come close enough for Tukey's to drop
    # them.
    a = np.column_stack((np.ones(200), np.arange(200.0) % 20))
    y = a @ np.array([500.0, 10.0]) + np.random.default_rng(1).normal(0, 3, 200)
    y[np.arange(200) % 4 == 1] += 400
    assert robust.fit(a, y).x == pytest.approx([500, 10], rel=0.02)


def test_a_resample_at_fixed_weights_is_stretched_as_far_as_weights_move() -> None:
    # Tukey's weights of normal errors: E(w) = 0.915 and E(w + u w') = 0.757 at 4.685 standard deviations.
    normal = 1000 + np.random.default_rng(5).normal(0, 10, 20_000)
    assert robust.fit(np.ones((20_000, 1)), normal).stretch == pytest.approx(0.915 / 0.757, rel=0.01)
    assert robust.fit(np.ones((9, 1)), np.full(9, 250.0)).stretch == 1
    # Half of the values are so placed that moving towards them removes their weight, so the formula diverges.
    near, far = np.linspace(999, 1001, 52), np.repeat([995.7, 1004.3], 24)
    assert robust.fit(np.ones((100, 1)), np.concatenate((near, far))).stretch == 2
