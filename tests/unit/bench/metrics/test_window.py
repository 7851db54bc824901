from __future__ import annotations

import random
from typing import Any

import pytest
import scipy.stats

from bench.metrics.window import (
    describe_window,
    mser,
    stationarity,
    stationarity_warnings,
    steady_window,
)

S = 1_000_000_000


def _noise(n: int, level: float = 100.0, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level + rng.gauss(0, 3) for _ in range(n)]


def _mser_by_definition(values: list[float]) -> int:
    """The formula as it stands, in quadratic time: an oracle."""
    means = [sum(values[i : i + 5]) / 5 for i in range(0, len(values) - 4, 5)]

    def error(d: int) -> float:
        kept = means[d:]
        mean = sum(kept) / len(kept)
        return sum((x - mean) ** 2 for x in kept) / len(kept) ** 2

    return min(range(len(means) // 2 + 1), key=error) * 5


@pytest.mark.parametrize("seed", range(20))
def test_mser_is_its_definition(seed: int) -> None:
    ramp = [100 * k / 30 for k in range(30)]
    values = ramp + _noise(90, seed=seed)
    assert mser(values)[0] == _mser_by_definition(values)


def test_mser_cuts_a_start_and_keeps_a_steady_run() -> None:
    cut, settled = mser([10.0] * 22 + _noise(98))
    assert settled
    assert 20 <= cut <= 30
    assert mser([100.0] * 100) == (0, True)


def test_mser_says_when_nothing_settled() -> None:
    assert mser([1000 * 0.98**k for k in range(100)]) == (50, False)
    assert mser([]) == (0, True)


def test_a_steady_series_has_no_warning() -> None:
    alarms = sum(bool(stationarity_warnings(stationarity(_noise(120, seed=seed)))) for seed in range(100))
    assert alarms == 0


def test_a_drop_and_a_drift_are_warned_of() -> None:
    drop = stationarity(_noise(60) + _noise(60, level=80))
    assert drop is not None
    assert drop["half_change"] == pytest.approx(-20 / 90, rel=0.05)
    assert "lower in the second half" in stationarity_warnings(drop)[0]
    drift = stationarity([x + k for k, x in enumerate(_noise(100))])
    assert drift is not None
    assert drift["trend_change"] == pytest.approx(100 / 150, rel=0.1)
    assert any("higher at the end" in warning for warning in stationarity_warnings(drift))


def test_a_small_sure_change_is_not_worth_a_warning() -> None:
    assert stationarity_warnings(stationarity([100.0] * 50 + [101.0] * 50)) == []


def test_a_short_or_silent_series_is_not_tested() -> None:
    assert stationarity([1.0] * 9) is None
    assert stationarity([0.0] * 50) is None


def _over_time(values: list[float]) -> dict[str, Any]:
    return {"step_s": 1, "t_s": list(map(float, range(len(values)))), "output_tokens": values}


def _border(at: float) -> int:
    """Slices of a quarter of a second."""
    return -(-int(at) // (S // 4)) * (S // 4)


def test_a_short_run_begins_after_ramp_and_warm_up() -> None:
    window = steady_window(0, 30 * S, 4.1 * S, 2 * S, _over_time([1.0] * 33), _border)
    assert window is not None
    assert (window.start_ns, window.end_ns) == (4.25 * S, 30 * S)


def test_a_window_from_the_first_send_is_not_moved_to_a_border() -> None:
    window = steady_window(0.1 * S, 30 * S, 0, S, _over_time([1.0] * 31), _border)
    assert window is not None
    assert window.start_ns == 0.1 * S


def test_a_long_run_is_cut_further_where_it_had_not_settled() -> None:
    values = [10.0] * 20 + _noise(80)
    short = steady_window(0, 59 * S, 0, S, _over_time(values), _border)
    long = steady_window(0, 99 * S, 0, S, _over_time(values), _border)
    assert short is not None
    assert long is not None
    assert (short.start_ns, long.start_ns) == (0, 20 * S)


def test_drain_is_outside() -> None:
    values = _noise(90) + [500.0] * 30
    window = steady_window(0, 90 * S, 0, S, _over_time(values), _border)
    assert window is not None
    assert (window.start_ns, window.end_ns) == (0, 90 * S)


def test_no_window_is_shorter_than_a_request() -> None:
    assert steady_window(0, S, 0, 2 * S, _over_time([1.0] * 3), _border) is None
    assert steady_window(0, 10 * S, 11 * S, S, _over_time([1.0] * 12), _border) is None
    assert describe_window(None, [], _over_time([]), True)["start_s"] is None


def test_few_rounds_of_a_closed_loop_are_warned_of() -> None:
    window = steady_window(0, 30 * S, 0, S, _over_time([1.0] * 30), _border)
    closed = describe_window(window, [5_000.0] * 9, _over_time([1.0] * 30), open_loop=False)
    assert closed["rounds"] == 6
    assert "6.0 rounds" in closed["warnings"][0]
    assert "17%" in closed["warnings"][0]
    assert describe_window(window, [5_000.0] * 9, _over_time([1.0] * 30), open_loop=True)["warnings"] == []


def test_half_z_is_the_statistic_of_welch() -> None:
    values = _noise(60, level=80) + _noise(61, level=100, seed=2)
    found = stationarity(values)
    means = [sum(values[i : i + 3]) / 3 for i in range(0, len(values) - 2, 3)]
    assert found is not None
    welch = scipy.stats.ttest_ind(means[20:], means[:20], equal_var=False)
    assert found["half_z"] == pytest.approx(welch.statistic)
    assert found["half_change"] == pytest.approx((sum(means[20:]) - sum(means[:20])) / 20 / (sum(means) / 40))


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 45),
        ([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], -45),
        ([3, 3, 1, 4, 4, 5, 2, 6, 8, 8], 28),
        ([5, 4, 5, 4, 5, 4, 5, 4, 5, 4], -5),
    ],
)
def test_trend_z_is_the_statistic_of_mann_and_kendall(values: list[float], score: int) -> None:
    found = stationarity(values)
    assert found is not None
    # One off the score for continuity, over the root of n (n - 1) (2 n + 5) / 18 = 125.
    assert found["trend_z"] == pytest.approx((abs(score) - 1) / 125**0.5 * (1 if score > 0 else -1))
    assert found["trend_change"] == pytest.approx(scipy.stats.theilslopes(values)[0] * 10 / (sum(values) / 10))


def test_a_long_run_that_never_settled_is_warned_of_and_one_that_did_is_not() -> None:
    falling = steady_window(0, 99 * S, 0, S, _over_time([1000 * 0.98**k for k in range(100)]), _border)
    settled = steady_window(0, 99 * S, 0, S, _over_time([10.0] * 20 + _noise(80)), _border)
    assert falling is not None
    assert settled is not None
    assert [len(falling.warnings), len(settled.warnings)] == [1, 0]
    assert "had not settled" in falling.warnings[0]


def test_many_rounds_of_a_closed_loop_are_no_warning() -> None:
    window = steady_window(0, 30 * S, 0, S, _over_time([1.0] * 30), _border)
    told = describe_window(window, [3_000.0] * 9, _over_time([1.0] * 30), open_loop=False)
    assert (told["rounds"], told["warnings"]) == (10, [])


def test_only_the_steps_inside_the_window_are_tested() -> None:
    # A ramp of 20 s before the window, and 20 s of drain behind it.
    values = [float(k) for k in range(20)] + [100.0] * 30 + [5.0] * 20
    window = steady_window(0, 50 * S, 20 * S, S, _over_time(values), _border)
    assert window is not None
    assert (window.start_ns, window.end_ns) == (20 * S, 50 * S)
    told = describe_window(window, [1_000.0], _over_time(values), open_loop=True)
    assert told["stationarity"] == {"half_change": 0, "half_z": 0, "trend_change": 0, "trend_z": 0}
    assert told["warnings"] == []
