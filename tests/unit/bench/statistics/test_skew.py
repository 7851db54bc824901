"""Comparisons of replicas: the tests of bench/statistics/skew.py against scipy, and on known replicas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bench.statistics import skew
from tests.support import scipy_stats as stats

Replica = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@pytest.mark.parametrize("counts", [(100, 120, 140), (5, 5), (1, 9), (1000, 1001, 999, 1200), (0, 0, 7), (3,) * 20])
def test_the_chi_square_of_counts_is_that_of_scipy(counts: tuple[int, ...]) -> None:
    assert skew.chi_square(counts) == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-9, abs=1e-300)


def test_known_counts_and_none() -> None:
    assert skew.chi_square([100, 120, 140]) == pytest.approx(0.0357, abs=5e-5)  # 6.667 with 2 degrees of freedom.
    assert skew.chi_square([0, 0]) == 1.0


@pytest.mark.parametrize(("k", "n", "p"), [(0, 5, 0.3), (5, 5, 0.3), (40, 100, 1 / 3), (340, 1000, 1 / 3)])
def test_the_binomial_tail_is_that_of_scipy(k: int, n: int, p: float) -> None:
    assert skew.binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-9)


@pytest.mark.parametrize("table", [(3, 100, 1, 200), (0, 10, 5, 10), (10, 10, 0, 10), (7, 50, 20, 150), (0, 5, 0, 5)])
def test_fishers_test_is_that_of_scipy(table: tuple[int, int, int, int]) -> None:
    failed, tried, others, tried_others = table
    expected = stats.fisher_exact([[failed, tried - failed], [others, tried_others - others]], "greater").pvalue
    assert skew.fisher(*table) == pytest.approx(expected, rel=1e-9)


def replicas(seed: int, *factors: float, n: int = 400, drift: float = 0.0, wave: float = 0.0) -> list[Replica]:
    """Independent latencies: a factor for each replica. `drift` and `wave` change all of them together."""
    rng = np.random.default_rng(seed)
    made = []
    for factor in factors:
        sent = np.sort(rng.uniform(0, 60e9, n))
        common = np.exp(drift * sent / 60e9 + wave * np.sin(sent / 5e9))
        made.append((sent, 50 * factor * common * rng.lognormal(0, 0.4, n)))
    return made


def test_a_slower_replica_is_seen_with_an_interval_that_holds_its_change() -> None:
    judged = [
        rows[1] for seed in range(40) if (rows := skew.slower(replicas(seed, 1, 1.3, 1, wave=0.5)))[1] is not None
    ]
    assert len(judged) >= 36  # In a few runs neighbouring batches are correlated by chance.
    assert max(row.p for row in judged) < 1e-3
    assert sum(row.low <= 0.3 <= row.high for row in judged) >= 0.9 * len(judged)


def test_faster_is_not_slower() -> None:
    rows = skew.slower(replicas(1, 1, 0.7, 1))
    assert rows[1] is not None
    assert rows[1].change == pytest.approx(-0.3, abs=0.05)
    assert rows[1].p > 0.99


@pytest.mark.parametrize("changes", [{"n": 63}, {"drift": 3.0}, {"drift": -3.0}])
def test_nothing_is_claimed_of_few_requests_or_of_latencies_that_go_one_way(changes: dict[str, float]) -> None:
    assert skew.slower(replicas(2, 1, 2, **changes)) == [None, None]  # type: ignore[arg-type]


def test_nothing_is_claimed_of_one_replica_or_none() -> None:
    assert skew.slower([]) == []
    assert skew.slower(replicas(3, 1)) == [None]


def test_queues_that_wander_apart_are_no_difference() -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        made = []
        for _ in range(3):
            walk = np.zeros(300)
            for i in range(1, 300):
                walk[i] = 0.97 * walk[i - 1] + rng.normal(0, 0.1)
            made.append((np.sort(rng.uniform(0, 60e9, 300)), 50 * np.exp(walk + rng.normal(0, 0.2, 300))))
        alarms += any(row is not None and 3 * row.p < 0.005 and row.change > 0.1 for row in skew.slower(made))
    assert alarms <= 4


def test_equal_constants_do_not_divide_by_zero() -> None:
    sent = np.linspace(0, 1e9, 200)
    rows = skew.slower([(sent, np.full(200, 5.0)), (sent, np.full(200, 5.0))])
    assert [row.change for row in rows if row is not None] == [0.0, 0.0]
    assert all(row.p > 0.4 for row in rows if row is not None)
