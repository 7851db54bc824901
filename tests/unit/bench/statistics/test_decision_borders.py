"""Where a gate, a visit's flag and a posterior change; and posteriors against an independent computation."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from bench.statistics.capacity import (
    MEAN_SLOPES,
    SHALLOW,
    Mean,
    Posterior,
    Share,
    dispersion,
    grid,
    mean_of,
    of_means,
    of_shares,
)
from bench.statistics.gate import Metric, Verdict, judge, missing_runs, objective
from bench.statistics.intervals import (
    Interval,
)
from bench.statistics.keeps_up import InFlight, in_flight, posterior
from tests.support import statistics_oracle as oracle

# The gate.

WORSE = Metric([100.0, 101.0, 99.0, 100.0], [115.0, 116.0, 114.0, 115.0], True)


def test_what_decides_a_gate_is_as_large_as_its_limit_and_as_sure_as_less_than_alpha() -> None:
    found = judge({"m": WORSE})["m"]
    assert found.verdict is Verdict.FAILED
    assert judge({"m": WORSE}, alpha=found.p)["m"].verdict is Verdict.NOT_SHOWN
    assert judge({"m": WORSE}, margin=found.difference.change)["m"].verdict is Verdict.FAILED
    assert judge({"m": WORSE}, margin=found.difference.high)["m"].verdict is Verdict.NOT_SHOWN
    assert judge({"m": replace(WORSE, floor=15.0)})["m"].verdict is Verdict.FAILED
    assert judge({"m": replace(WORSE, floor=15.1)})["m"].verdict is Verdict.NOT_SHOWN
    before = math.exp(fmean(map(math.log, WORSE.baseline)))
    assert judge({"m": replace(WORSE, floor=before * found.difference.high - 1e-6)})["m"].verdict is Verdict.NOT_SHOWN
    assert judge({"m": replace(WORSE, floor=before * found.difference.high + 0.1)})["m"].verdict is Verdict.HELD


def test_of_a_number_that_should_be_high_the_low_end_is_the_worst() -> None:
    fell = Metric([100.0, 101.0, 99.0, 100.0], [97.0, 96.0, 98.0, 97.0], False)
    found = judge({"m": fell})["m"].difference
    assert judge({"m": fell}, margin=-found.low)["m"].verdict is Verdict.NOT_SHOWN
    assert judge({"m": fell}, margin=-found.low + 1e-9)["m"].verdict is Verdict.HELD


def test_a_limit_that_an_interval_touches_is_neither_kept_nor_broken() -> None:
    assert objective(Interval(500, 600), 500) is Verdict.NOT_SHOWN
    assert objective(Interval(400, 500), 500) is Verdict.NOT_SHOWN
    assert objective(Interval(400, 500), 500, upper=False) is Verdict.NOT_SHOWN
    assert objective(Interval(500, 600), 500, upper=False) is Verdict.NOT_SHOWN


def test_missing_runs_are_counted_in_words() -> None:
    assert missing_runs(4, 1) == (
        "1 candidate run against 4 of the baseline cannot be told from chance: make 3 candidate runs, or keep 5 baseline "
        "runs (--update)"
    )
    assert str(missing_runs(4, 2)).startswith("2 candidate runs against")
    assert missing_runs(1, 3) == "the baseline has 1 run, and a spread needs two: add one (--update)"
    assert missing_runs(0, 3) == "the baseline has 0 runs, and a spread needs two: add one (--update)"


def test_a_share_where_something_happened_on_one_side_alone_is_compared_by_runs() -> None:
    one = Metric([0.0] * 5, [0.0, 0.0, 0.0, 0.0, 0.01], True, ratio=False, independent=(900.0, 900.0))
    assert judge({"m": one})["m"].difference.change == pytest.approx(0.002)


# Whether a server keeps up.


@pytest.mark.parametrize(
    ("thirds", "sent", "grows"),
    [
        ((200.0, 220.0, 250.0), 1_000, False),
        ((200.0, 220.0, 250.1), 1_000, True),
        ((100.0, 130.0, 160.0), 2_000, False),
        ((100.0, 130.0, 160.1), 2_000, True),
        ((99.0, 110.0, 129.0), 10, False),
        ((99.0, 110.0, 129.1), 10, True),
        ((100.0, 200.0, 200.0), 1_000, False),
    ],
)
def test_a_visit_is_flagged_beyond_each_border(thirds: tuple[float, float, float], sent: int, grows: bool) -> None:
    assert InFlight(thirds, sent).grows is grows


def test_a_request_sent_as_the_time_begins_counts_and_one_as_it_ends_does_not() -> None:
    found = in_flight([100.0, 130.0], [130.0, 150.0], 100.0, 130.0)
    assert (found.thirds, found.sent) == ((1.0, 1.0, 1.0), 1)


def test_what_flags_say_of_a_capacity_is_the_formula() -> None:
    visits = [(18.0, True), (23.0, False), (20.5, True)]
    mass = []
    for i in range(50):
        capacity = 10 * 4 ** (i / 49)
        total = 0.0
        for offset in (-0.01, 0.02, 0.045, 0.07):
            chance = 1.0
            for load, kept_up in visits:
                fails = 0.03 + 0.94 / (1 + (load / capacity * math.exp(-offset)) ** -50)
                chance *= 1 - fails if kept_up else fails
            total += chance
        mass.append(total)
    assert posterior(visits, grid(10, 40, 50)).mass == pytest.approx([m / sum(mass) for m in mass])


# Capacity.


def test_the_posterior_of_jobs_and_that_of_means_are_those_of_the_slow_reference() -> None:
    visits = [(20.0, 1_200, 2), (40.0, 2_400, 300), (33.0, 500, 0)]
    found = of_shares([Share(*visit) for visit in visits], 0.05, 30.0, grid(10, 80), SHALLOW)
    expected = oracle.capacity_mass(
        visits,
        0.05,
        30.0,
        10,
        80,
        slopes=(0.7, 1, 1.5, 2.3, 3.5, 5, 8, 12, 20, 32, 50, 80, 160, 420),
        median=5.0,
        sigma=1.2,
    )
    assert found.mass == pytest.approx(expected, abs=1e-10)
    means = [(30.0, 0.02, 0.03), (25.0, -0.6, 0.05), (36.0, 0.3, 0.02), (28.0, -0.1, 0.04)]
    assert of_means([Mean(*mean) for mean in means], grid(15, 60)).mass == pytest.approx(
        oracle.capacity_mass_of_means(means, 15, 60), abs=1e-10
    )
    assert len(MEAN_SLOPES) == 10


def test_twenty_small_values_have_a_mean() -> None:
    found = mean_of(5.0, [0.4, 0.6] * 10, 0.25)
    assert found is not None
    assert (found.load, found.log_ratio) == (5.0, pytest.approx(math.log(2)))
    # The values alternate, so they are worth half as many, 10, or 5 after correction. sd = 0.1 x sqrt(20 / 19).
    assert found.error == pytest.approx(math.hypot(0.1 * math.sqrt(20 / 19) / math.sqrt(5) / 0.5, 0.01))


def test_quantiles_at_the_borders_of_the_mass() -> None:
    even = Posterior(np.arange(1.0, 11.0), np.full(10, 0.1))
    assert [even.quantile(p) for p in (0.0, 0.1, 0.1001, 1.0, 1.1)] == [1.0, 1.0, 2.0, 10.0, 10.0]


def test_visits_at_the_border_of_what_saw_the_edge() -> None:
    # Visits within 25%, with less than 30% violations.
    assert dispersion([(125.0, 0.29, 10.0), (75.0, 0.0, 20.0)], 100.0, 0.01, 64.0) == 45.0
    assert dispersion([(125.1, 0.0, 3.0), (74.9, 0.0, 3.0), (100.0, 0.3, 10.0)], 100.0, 0.01, 5.5) == 11.0
    # Three times the odds of 20% is 3/7, a share of 42.9%.
    assert dispersion([(100.0, 0.42, 10.0)], 100.0, 0.2, 64.0) == 30.0
    assert dispersion([(100.0, 0.43, 10.0)], 100.0, 0.2, 64.0) == 128.0
