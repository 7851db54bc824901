"""Causes: the pattern of an error names the mistake; without an error there is no cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.accuracy.causes import BODY, UNKNOWN, MetricComparison, Stats, cause_of
from bench.results.base import to_plain

TRUE: dict[str, float] = {"mean": 50.37, "p50": 50.21, "p75": 51.43, "p90": 53.17, "p95": 55.91, "p99": 60.63,
                          "max": 71.77}  # fmt: skip
RIGHT = MetricComparison(unit="ms", n=200, true_n=200, measured=TRUE, true=TRUE, recounted=TRUE)


def changed(change: float = 0.0, factor: float = 1.0) -> dict[str, float]:
    return {stat: value * factor + change for stat, value in TRUE.items()}


TAIL = TRUE | {"p95": 58.0, "p99": 66.0, "max": 80.0}

CASES: list[tuple[str, MetricComparison, str]] = [
    ("late by a constant, in the stamps themselves",
     replace(RIGHT, measured=changed(5.0), recounted=changed(5.0)),
     "the time stamps are late: all quantiles are shifted by +5.000 ms"),
    ("early by a constant", replace(RIGHT, measured=changed(-5.0), recounted=changed(-5.0)),
     "the time stamps are early: all quantiles are shifted by -5.000 ms"),
    ("late in the tail, in the stamps themselves", replace(RIGHT, measured=TAIL, recounted=TAIL),
     "the time stamps are late, most of all in the tail: the client was busy, or looked at the clock after its work"),
    ("shifted, though the stamps are right", replace(RIGHT, measured=changed(5.0)),
     "all quantiles are shifted by +5.000 ms"),
    ("scaled", replace(RIGHT, measured=changed(factor=1.25)), "all quantiles are 1.25 times the truth"),
    ("cut to whole ms", replace(RIGHT, measured={s: float(int(v)) for s, v in TRUE.items()} | {"mean": 49.87}),
     "values are cut to whole milliseconds"),
    ("rounded to whole ms", replace(RIGHT, measured={s: float(round(v)) for s, v in TRUE.items()} | {"mean": 50.35}),
     "values are rounded to whole milliseconds"),
    ("another definition", replace(RIGHT, measured=changed(-7.3), mistaken={"x": changed(2), "it is y": changed(-7.31)}),
     "it is y"),
    ("the closest of several definitions",
     replace(RIGHT, measured=changed(9.0), mistaken={"near": changed(8.5), "nearer": changed(8.99)}), "nearer"),
    ("a wrong tail of right values", replace(RIGHT, measured=TAIL),
     "the median is right and the tail is not: the values are right and their quantiles are computed wrongly"),
    ("failures among the values", replace(RIGHT, n=207, measured=changed(-1.3), extra={"failed requests": 7}),
     "failed requests are included: there are 7 values too many, as many as there were failed requests"),
    ("something else", replace(RIGHT, measured=TRUE | {"p50": 58.0, "p75": 30.0}), UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("what", "comparison", "sentence"), CASES, ids=[what for what, _, _ in CASES])
def test_a_pattern_names_its_cause(what: str, comparison: MetricComparison, sentence: str) -> None:
    found = cause_of("ttft_ms", comparison)
    assert found is not None
    assert found.cause == sentence
    errors = {s: comparison.measured[s] - comparison.true[s] for s in BODY if s in comparison.true}
    assert abs(found.size) == max(map(abs, errors.values()))
    assert found.size == errors[found.stat]
    assert to_plain(found) == {
        "metric": "ttft_ms",
        "stat": found.stat,
        "size": found.size,
        "unit": "ms",
        "cause": sentence,
    }


@pytest.mark.parametrize(
    "comparison",
    [
        RIGHT,
        replace(RIGHT, measured=changed(0.09), recounted=changed(0.09)),
        replace(RIGHT, measured=TRUE | {"p999": 90.0, "max": 100.0}),
        replace(RIGHT, true={}, true_n=200),
        replace(RIGHT, unit="tokens/s", measured=changed(0.2)),
    ],
    ids=["right", "as the stamps are", "the maximum alone", "no truth", "a speed of a thousandth more"],
)
def test_where_nothing_is_wrong_no_cause_is_named(comparison: MetricComparison) -> None:
    assert cause_of("ttft_ms", comparison) is None


def test_an_error_that_the_stamps_allow_needs_no_other_cause() -> None:
    late = changed(3.0)
    allowed = {stat: (value - 4.0, value) for stat, value in late.items()}
    bounded = replace(RIGHT, measured=late, recounted=late)
    assert cause_of("e2el_ms", replace(bounded, allowed=allowed)) is None
    assert cause_of("e2el_ms", replace(bounded, allowed={s: (v - 2.0, v) for s, v in late.items()})) is not None


def test_a_speed_is_wrong_where_its_time_per_token_is() -> None:
    speeds: Stats = {"mean": 50.0, "p50": 50.0, "p90": 52.0}
    comparison = MetricComparison(
        unit="tokens/s", n=9, true_n=9, measured={s: v * 1.1 for s, v in speeds.items()}, true=speeds
    )
    found = cause_of("tps", comparison)
    assert found is not None
    assert found.cause == "all quantiles are 1.1 times the truth"
