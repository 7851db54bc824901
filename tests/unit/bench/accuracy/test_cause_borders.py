"""Causes at their borders: the pattern of an error, with numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.accuracy.causes import (
    MetricComparison,
    cause_of,
    causes_of_outcomes,
    clock_set,
    late_stamps,
    rate_cause,
    scaled,
    shifted,
    step_of,
    tail_alone,
    too_many,
    whole_ms,
)
from bench.accuracy.number_error import number_error
from bench.results.certificate import NumberRow

TRUE = {"mean": 50.0, "p50": 50.0, "p90": 54.0, "p99": 60.0, "max": 70.0}


def of(**fields: Any) -> MetricComparison:
    given: dict[str, Any] = {"unit": "ms", "n": 9, "true_n": 9, "measured": TRUE, "true": TRUE}
    return MetricComparison(**(given | fields))


def moved(by: float) -> dict[str, float]:
    return {stat: value + by for stat, value in TRUE.items()}


# ---- Causes --------------------------------------------------------------------------------------------------------


def test_an_error_is_noticed_from_a_tenth_of_a_millisecond_on() -> None:
    assert cause_of("x", of(measured=moved(0.0999))) is None
    assert cause_of("x", of(measured=moved(0.101))) is not None
    # A speed is compared as a time per token: 1000 / 50 and 1000 / 50.3 are 0.12 ms apart, 1000 / 50.2 only 0.08.
    speeds = {"p50": 50.0}
    assert cause_of("x", of(unit="tokens/s", true=speeds, measured={"p50": 50.2})) is None
    assert cause_of("x", of(unit="tokens/s", true=speeds, measured={"p50": 50.3})) is not None
    assert cause_of("x", of(unit="tokens/s", true=speeds, measured={"p50": 49.78})) is None
    assert cause_of("x", of(unit="tokens/s", true=speeds, measured={"p50": 49.73})) is not None
    assert cause_of("x", of(unit="tokens/s", true=speeds, measured={"p50": 0.0})) is None


def test_more_or_fewer_values_need_a_cause_even_where_the_numbers_agree() -> None:
    found = cause_of("x", of(n=10))
    assert found is not None
    assert found.size == 0.0
    assert cause_of("x", of(n=10, measured={})) is None


def test_a_number_of_values_too_many_is_a_group_s_only_where_it_is_just_as_large() -> None:
    extra = {"failed requests": 0, "warm-up requests": 3}
    assert too_many(of(extra=extra), {}) is None
    assert too_many(of(n=11, extra=extra), {}) is None
    assert too_many(of(n=12, extra=extra), {}) == (
        "warm-up requests are included: there are 3 values too many, as many as there were warm-up requests"
    )


def errors_of(comparison: MetricComparison) -> dict[str, float]:
    return {
        s: comparison.measured[s] - comparison.true[s]
        for s in ("mean", "p50", "p90", "p99")
        if s in comparison.measured
    }


@pytest.mark.parametrize(
    ("measured", "true", "said"),
    [
        ({"p50": 50.0, "p90": 54.0, "max": 70.0}, {"p50": 50.2, "p90": 54.1, "max": 70.4}, "rounded"),
        # All quantiles except one are rounded, and so is the maximum.
        ({"p50": 50.5, "p90": 54.0, "max": 70.0}, {"p50": 50.2, "p90": 54.1, "max": 70.4}, "rounded"),
        ({"p50": 50.5, "p90": 54.5, "max": 70.0}, {"p50": 50.2, "p90": 54.1, "max": 70.4}, None),
        ({"p50": 50.0, "p90": 54.0, "max": 70.5}, {"p50": 50.2, "p90": 54.1, "max": 70.4}, None),
        # The true values are whole numbers, too.
        ({"p50": 50.0, "p90": 54.0, "max": 70.0}, {"p50": 50.0, "p90": 54.0, "max": 71.0}, None),
        ({"p50": 50.0, "p90": 54.0, "max": 70.0}, {"p50": 50.0, "p90": 54.0, "max": 70.4}, "rounded"),
        # A difference of a millisecond or more is no rounding.
        ({"p50": 50.0, "p90": 54.0, "max": 70.0}, {"p50": 51.2, "p90": 54.1, "max": 70.4}, None),
        ({"p50": 50.0, "p90": 54.0, "max": 70.0, "mean": 50.0}, {"p50": 50.5, "p90": 54.4, "max": 70.4, "mean": 50.5}, "cut"),
        ({"p50": 50.0, "p90": 54.0, "max": 70.0, "mean": 50.0}, {"p50": 50.2, "p90": 54.4, "max": 70.4, "mean": 50.2},
         "rounded"),
        ({}, {}, None),
    ],
)  # fmt: skip
def test_whole_milliseconds_are_told_by_the_maximum_and_the_quantiles(
    measured: dict[str, float], true: dict[str, float], said: str | None
) -> None:
    comparison = of(measured=measured, true=true)
    found = whole_ms(comparison, errors_of(comparison))
    assert found == (None if said is None else f"values are {said} to whole milliseconds")
    assert whole_ms(replace(comparison, unit="tokens/s"), errors_of(comparison)) is None


def test_the_same_error_or_factor_everywhere_is_a_shift_or_a_scale() -> None:
    shift = of(measured=moved(5.0))
    assert shifted(shift, errors_of(shift)) == "all quantiles are shifted by +5.000 ms"
    assert scaled(shift, errors_of(shift)) is None
    # An error of 4.5 is within a tenth of the largest error, 5. An error of 4.4 is not.
    assert shifted(shift, {"p50": 4.5, "p99": 5.0}) is not None
    assert shifted(shift, {"p50": 4.4, "p99": 5.0}) is None
    assert shifted(shift, {"p50": -0.1, "p99": 5.0}) is None
    factor = of(measured={stat: value * 1.5 for stat, value in TRUE.items()})
    assert scaled(factor, errors_of(factor)) == "all quantiles are 1.5 times the truth"
    assert shifted(factor, errors_of(factor)) is None
    zero = of(true={"p50": 0.0, "p90": 2.0, "p99": 4.0}, measured={"p50": 0.0, "p90": 3.0, "p99": 6.0})
    assert scaled(zero, errors_of(zero)) == "all quantiles are 1.5 times the truth"


def test_a_tail_is_alone_where_the_median_has_a_tenth_of_its_error_at_most() -> None:
    assert tail_alone(of(), {"p50": 0.5, "p99": 5.0}) is not None
    assert tail_alone(of(), {"p50": 0.6, "p99": 5.0}) is None
    assert tail_alone(of(), {"p50": -0.5, "p99": -5.0}) is not None
    assert tail_alone(of(), {"p99": 5.0}) is None


def test_stamps_are_early_or_late_by_their_median_or_their_tail() -> None:
    early = of(measured=moved(-5.0), recounted=moved(-5.0))
    assert str(late_stamps(early, errors_of(early))).startswith("the time stamps are early")
    tail = TRUE | {"p99": 70.0}
    late = of(measured=tail, recounted=tail)
    assert str(late_stamps(late, errors_of(late))).startswith("the time stamps are late, most of all in the tail")
    assert late_stamps(of(measured=moved(5.0)), errors_of(of(measured=moved(5.0)))) is None
    for errors in ({"p50": 0.0, "p99": -5.0}, {"p50": -5.0, "p99": 0.0}):
        assert str(late_stamps(early, errors)).startswith("the time stamps are early")
    for errors in ({"p50": 0.1, "p99": -5.0}, {"p50": -5.0, "p99": 0.1}):
        assert str(late_stamps(early, errors)).startswith("the time stamps are late")
    # A cause explains an error if it leaves less than half of it, and less than a tenth of it or 0.02 ms.
    for left, explains in ((0.49, True), (0.51, False)):
        near_it = of(measured=moved(5.0), recounted=moved(5.0 - left))
        assert (late_stamps(near_it, errors_of(near_it)) is not None) is explains
    small = of(measured=moved(0.15), recounted=moved(0.135))
    assert late_stamps(small, errors_of(small)) is not None


@pytest.mark.parametrize(
    ("lags", "step"),
    [
        ([1.0, 1.0, 6.0, 6.0], 5.0),
        ([1.0, None, 1.0, 6.0, None, 6.0], 5.0),
        ([6.0, 6.0, 1.0, 1.0], -5.0),
        ([1.0, 6.0, 6.0], None),  # Too few slices.
        ([1.0, 1.0, 1.09, 1.09], None),  # The jump is too small to be noticed.
        ([1.0, 1.0, 1.2, 1.2], pytest.approx(0.2)),
        # Lags on either side may vary by a tenth of the jump. The slices next to the jump may contain both lags.
        ([1.0, 1.0, 1.4, 6.0, 6.4, 6.4], pytest.approx(5.4)),
        ([1.5, 1.0, 1.0, 6.0, 6.0, 6.0], 5.0),
        ([1.7, 1.0, 1.0, 6.0, 6.0, 6.0], None),
        ([1.0, 1.0, 1.0, 6.0, 6.0, 6.7], None),
        ([], None),
    ],
)  # fmt: skip
def test_a_clock_that_was_set_shows_as_one_step(lags: list[float | None], step: float | None) -> None:
    assert step_of(lags) == step
    assert clock_set(of(step_ms=None), {}) is None
    assert clock_set(of(step_ms=-1234.5), {}) == (
        "the clock was set by -1,234.5 ms while the load went on: the stamps jump with it"
    )


def test_a_rate_is_noticed_from_two_thousandths_on_and_explained_by_a_tenth() -> None:
    def of_rate(measured: float, true: float = 100.0) -> NumberRow:
        return number_error("requests_per_s", "mean", "1/s", measured=measured, true=true)

    assert rate_cause(of_rate(100.19), {}) is None
    assert rate_cause(of_rate(5.0, 0.0), {}) is None
    just = rate_cause(of_rate(1002.0, 1000.0), {})
    assert just is not None
    assert just.size == 2.0
    unknown = rate_cause(of_rate(110.0), {"a": 108.9})
    assert unknown is not None
    assert (unknown.cause, unknown.size) == ("no known mistake gives this number", pytest.approx(10.0))
    named = rate_cause(of_rate(110.0), {"b": 109.1, "c": 110.0})
    assert named is not None
    assert named.cause == "b"


def test_confused_outcomes_are_told_in_words() -> None:
    confused = {("ok", "stream_error", ""): 2, ("ok", "truncated", "truncate"): 1, ("malformed", "ok", "u2028"): 3,
                ("reset", "ok", "gzip"): 4, ("reset", "ok", ""): 5, ("reset", "truncated", "x"): 6}  # fmt: skip
    assert [(cause.cause, cause.size) for cause in causes_of_outcomes(confused)] == [
        ("an error inside a 200 stream is counted as a success", 2.0),
        ("a reply that ended as truncated is counted as a success", 1.0),
        ("events are cut at U+2028, which ends no line: such replies are counted as malformed", 3.0),
        ("good replies that came with the fault gzip are counted as reset", 4.0),
        ("ok is counted as reset", 5.0),
        ("truncated is counted as reset", 6.0),
    ]


def test_a_speed_of_nothing_on_either_side_is_no_error_of_a_time() -> None:
    for measured, true in ((50.0, 0.0), (0.0, 50.0), (0.0, 0.0), (-1.0, 50.0)):
        assert cause_of("x", of(unit="tokens/s", true={"p50": true}, measured={"p50": measured})) is None
