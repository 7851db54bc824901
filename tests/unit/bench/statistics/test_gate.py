"""The rules of the gate: objectives by intervals, changes by runs, and how often unchanged code fails."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics.gate import Metric, Verdict, judge, missing_runs, objective
from bench.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("interval", "upper", "verdict"),
    [
        (Interval(510, 560), True, Verdict.FAILED),
        (Interval(400, 480), True, Verdict.HELD),
        (Interval(480, 520), True, Verdict.NOT_SHOWN),
        (None, True, Verdict.NOT_SHOWN),
        (Interval(510, 560), False, Verdict.HELD),
        (Interval(400, 480), False, Verdict.FAILED),
    ],
)
def test_an_objective_is_judged_by_its_whole_interval(interval: Interval | None, upper: bool, verdict: Verdict) -> None:
    assert objective(interval, 500, upper) is verdict


def runs(level: float, n: int = 5, spread: float = 0.01) -> list[float]:
    return [level * (1 + spread * (i - (n - 1) / 2)) for i in range(n)]


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        (Metric(runs(100), runs(115), True), Verdict.FAILED),
        (Metric(runs(100), runs(85), True), Verdict.HELD),  # Better.
        (Metric(runs(100), runs(85), False), Verdict.FAILED),  # The throughput fell.
        (Metric(runs(100), runs(100), True), Verdict.HELD),
        (Metric(runs(100), runs(103.5), True), Verdict.NOT_SHOWN),  # A certain change, perhaps below the margin.
        (Metric(runs(100, spread=0.2), runs(130, spread=0.2), True), Verdict.NOT_SHOWN),
        (
            Metric([0.0] * 5, [0.0] * 5, True, ratio=False, margin=0.01, independent=(900, 400)),
            Verdict.HELD,
        ),  # 3 / 400.
        (Metric([0.0] * 5, [0.0] * 5, True, ratio=False, margin=0.01, independent=(900, 200)), Verdict.NOT_SHOWN),
        (Metric([0.0] * 5, runs(0.03), True, ratio=False, margin=0.01, independent=(900, 200)), Verdict.FAILED),
        (Metric(runs(100), runs(115), True, margin=0.2), Verdict.HELD),
        (Metric(runs(2), runs(2.3), True, floor=0.5), Verdict.HELD),  # 0.3 ms.
        (Metric(runs(100), [115.0], True), Verdict.FAILED),
        (Metric([0.0, 0.0, 0.0], [0.2, 0.21, 0.19], True, ratio=False), Verdict.FAILED),
    ],
)
def test_a_change_fails_where_it_is_worse_sure_and_large(metric: Metric, verdict: Verdict) -> None:
    assert judge({"m": metric})["m"].verdict is verdict


def test_one_metric_of_four_needs_a_smaller_p() -> None:
    close = Metric([100, 104, 96, 102, 98], [107, 111, 103, 109, 105], True)
    alone = judge({"m": close})["m"]
    same = Metric([100, 104, 96, 102, 98], [100, 104, 97, 102, 98], True)
    of_four = judge({"m": close, "a": same, "b": same, "c": same})["m"]
    assert alone.verdict is Verdict.FAILED
    assert of_four.p == pytest.approx(4 * alone.p)


@pytest.mark.parametrize(
    ("baseline", "candidate", "says"),
    [
        (5, 0, "no candidate"),
        (4, 1, "cannot be told from chance"),
        (4, 2, "cannot be told"),
        (1, 3, "two"),
        (5, 1, None),
        (2, 3, None),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(baseline: int, candidate: int, says: str | None) -> None:
    found = missing_runs(baseline, candidate)
    assert found is None if says is None else says in str(found)
    if says is not None:
        with pytest.raises(ValueError, match=says):
            judge({"m": Metric([1.0] * baseline, [1.0] * candidate, True)})


def alarms(change: float, noise: float, tries: int, seed: int, candidates: int = 5) -> int:
    rng = np.random.default_rng(seed)
    failed = 0
    for _ in range(tries):
        metrics = {
            name: Metric(
                list(rng.lognormal(0, noise, 5)), list(rng.lognormal(np.log1p(shift), noise, candidates)), True
            )
            for name, shift in (("ttft", change), ("tpot", 0.0), ("tokens", 0.0), ("errors", 0.0))
        }
        failed += any(judged.verdict is Verdict.FAILED for judged in judge(metrics).values())
    return failed


def test_unchanged_code_fails_in_at_most_one_of_a_hundred_gates() -> None:
    assert alarms(0.0, 0.05, 200, seed=1) <= 5  # Two-sided 5% over four metrics; only changes for the worse count.
    assert alarms(0.0, 0.02, 200, seed=2) <= 2


def test_a_change_of_a_fifth_is_found() -> None:
    assert alarms(0.20, 0.05, 50, seed=3) >= 42
    assert alarms(0.10, 0.02, 50, seed=4) >= 47
