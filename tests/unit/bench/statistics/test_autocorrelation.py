"""The autocorrelation time of values: against a slow reference, and against processes with a known time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics.autocorrelation import Dependence, act, dependence, ranks, tail_act
from tests.support import statistics_oracle as oracle


def autoregressive(n: int, a: float, seed: int = 0) -> np.ndarray:
    """x(t) = a x(t-1) + noise, from its stationary state: act = (1 + a) / (1 - a)."""
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal() / np.sqrt(1 - a * a)
    noise = rng.normal(size=n)
    for i in range(1, n):
        x[i] = a * x[i - 1] + noise[i]
    return x


@pytest.mark.parametrize("n", [20, 21, 400, 1_999, 2_000, 2_001, 5_003])
@pytest.mark.parametrize("a", [0.0, 0.5, 0.95, -0.6])
def test_act_is_that_of_the_slow_reference(n: int, a: float) -> None:
    x = autoregressive(n, a)
    assert act(x) == pytest.approx(oracle.act(list(x)), rel=1e-9)


@pytest.mark.parametrize(("a", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0), (0.98, 99.0)])
def test_act_finds_the_time_of_an_autoregressive_series(a: float, expected: float) -> None:
    assert act(autoregressive(200_000, a)) == pytest.approx(expected, rel=0.15)


def test_a_few_values_count_as_one_and_equal_values_as_independent() -> None:
    assert act([3.0] * 19) == 19.0
    assert act([0.1] * 1_000) == 1.0
    assert act([1e9 + 0.1] * 5_000) == 1.0


def test_a_series_that_repeats_in_blocks_is_worth_its_blocks() -> None:
    blocks = np.random.default_rng(1).normal(size=4_000)
    assert act(np.repeat(blocks, 25)) == pytest.approx(25, rel=0.15)


def test_a_single_step_counts_as_far_as_its_values_are_alike() -> None:
    # Ten low, then ten high: rho(k) = 1 - 3k/20 up to lag 10, so that G = 1.85, 1.25, 0.65, 0.05 and then -0.55.
    assert act([0.0] * 10 + [1.0] * 10) == pytest.approx(2 * (1.85 + 1.25 + 0.65 + 0.05) - 1)


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks([5.0, 1.0, 5.0, 2.0]).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_one_giant_value_does_not_hide_the_dependence_of_the_others() -> None:
    x = autoregressive(20_000, 0.9)
    spoiled = x.copy()
    spoiled[777] = 1e6
    assert act(spoiled) < 2
    assert dependence(spoiled).d == pytest.approx(dependence(x).d, rel=0.05)


def test_independent_values_keep_half_of_their_number_and_more() -> None:
    known = dependence(np.random.default_rng(2).exponential(size=30_000))
    assert 1.5 <= known.d < 2
    assert known.effective == pytest.approx(30_000 / known.d)


def test_no_values_are_worth_nothing() -> None:
    assert dependence([]) == Dependence(0, 1.0)
    assert tail_act([]) == 1.0


def test_the_tail_is_that_above_the_series_own_p90() -> None:
    # Every tenth block of 40 is high: an excursion lasts 40 values.
    low_and_high = np.where(np.arange(40_000) // 40 % 10 == np.arange(40_000) // 400 * 7 % 10, 2.0, 1.0)
    noise = np.random.default_rng(3).uniform(0, 0.01, 40_000)
    assert 25 < tail_act(low_and_high + noise) < 60


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200), st.floats(0.001, 1_000), st.floats(-1e3, 1e3))
def test_act_is_between_one_and_the_number_and_does_not_depend_on_units(
    values: list[float], scale: float, shift: float
) -> None:
    found = act(values)
    assert 1.0 <= found <= len(values)
    if np.ptp(values) > 1e-3:
        assert act(np.asarray(values) * scale + shift) == pytest.approx(found, rel=1e-3, abs=1e-3)
