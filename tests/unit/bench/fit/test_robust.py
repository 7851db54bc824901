"""Non-negative least squares against scipy's, and the weights."""

from __future__ import annotations

import numpy as np
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
    assert x[0] + x[1] == pytest.approx(2)
    assert x[2] == 0


def test_outliers_have_no_weight() -> None:
    a = np.column_stack((np.ones(60), np.arange(60.0)))
    y = a @ [5.0, 2.0]
    y[::10] += 500
    found = robust.fit(a, y)
    assert found.x == pytest.approx([5, 2])
    assert set(np.flatnonzero(found.weights == 0)) == set(range(0, 60, 10))
    assert robust.fit(a, y, robust=False).x != pytest.approx([5, 2], rel=0.01)
