"""How numbers are written, at their borders."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import formatting
from bench.results.numbers import Metric, TooFewValues
from bench.results.summary import ObjectiveResult
from tests.support.results import filled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0, "0"), (0.00123, "0.0012"), (0.00996, "0.01"), (0.01, "0.010"), (0.5, "0.500"), (9.9994, "9.999"),
        (9.9996, "10.00"), (10.5, "10.50"), (99.994, "99.99"), (99.996, "100.0"), (100.5, "100.5"), (999.94, "999.9"),
        (999.96, "1,000"), (1000.4, "1,000"), (12345.6, "12,346"), (-0.5, "-0.500"), (-1234.5, "-1,234"), (7.0, "7"),
    ],
)  # fmt: skip
def test_a_number_has_four_digits(value: float | None, text: str) -> None:
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("ends", "text"), [(None, ""), ((1, 2.5), "1–2.500"), ((3, None), "over 3"), ((None, 2), "–\u20132")]
)
def test_an_interval_has_two_ends_or_one(ends: tuple[float | None, float | None] | None, text: str) -> None:
    assert formatting.interval(ends) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"), (119.5, "120 s"), (120, "2 min"), (121, "3 min"), (7_199, "120 min"), (7_200, "2 h"), (7_201, "3 h"),
        (172_799, "48 h"), (172_800, "2 days"), (172_801, "3 days"),
    ],
)  # fmt: skip
def test_a_length_of_time_has_one_unit_and_is_rounded_up(seconds: float, text: str) -> None:
    assert formatting.about(seconds) == text


def test_what_is_missing_says_how_many_and_how_long() -> None:
    few = filled(TooFewValues, independent=8.9, needed=1_000, run_s=121.0)
    assert formatting.missing(few) == (
        "too few independent values: 8 of 1,000; a run of about 3 min would do"
    )  # fmt: skip
    assert formatting.missing(filled(TooFewValues, independent=8.9, needed=10, run_s=None)) == (
        "too few independent values: 8 of 10"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0%"), (1, "100%"), (0.5, "50%"), (0.0125, "1.25%"), (0.0999, "9.99%"), (0.1006, "10.1%"),
     (0.105, "10.5%"), (1.255, "125.5%")],
)  # fmt: skip
def test_a_share_is_in_percent(value: float | None, text: str) -> None:
    assert formatting.share(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "–"),
        (0.125, "share", "12.5%"),
        (5.5, "1/s", "5.500 per s"),
        (5, "1/h", "5 per hour"),
        (5, "ms", "5 ms"),
    ],
)
def test_a_measured_value_has_its_unit(value: float | None, unit: str, text: str) -> None:
    assert formatting.measured(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"), (59.9, "less than a minute"), (60, "1 minute"), (119, "1 minute"), (120, "2 minutes"),
        (3_599, "59 minutes"), (3_600, "1 hour"), (7_200, "2 hours"), (86_399, "23 hours"), (86_400, "1 day"),
        (172_800, "2 days"), (86_400 * 1_500, "1,500 days"),
    ],
)  # fmt: skip
def test_an_age_is_whole(seconds: float, text: str) -> None:
    assert formatting.age(seconds) == text


def test_differences_have_their_sign_and_zero_has_a_plus() -> None:
    assert [formatting.signed(v) for v in (None, 0.0, -0.0001, 0.0006, -1.5, 1234.5)] == [
        "–", "+0.000", "+0.000", "+0.001", "-1.500", "+1,234.500",
    ]  # fmt: skip
    assert [formatting.signed_share(v) for v in (None, 0.0, -0.00001, 0.125, -0.5, 12.0)] == [
        "–", "+0.00%", "+0.00%", "+12.50%", "-50.00%", "+1,200.00%",
    ]  # fmt: skip
    assert [formatting.seconds(v) for v in (None, 0.25, 1234.56)] == ["–", "0.2 s", "1,234.6 s"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0005, "500 µ"), (0.00123, "0.00123"), (2.5e-7, "250 n"), (-1_234.0, "-1.23 k")]
)
def test_small_amounts_have_prefixes_too(value: float, text: str) -> None:
    assert formatting.si(value) == text


@pytest.mark.parametrize(
    ("value", "largest", "text"),
    [
        (250_000, 999_999, "250,000"), (250_000, 1_000_000, "250 k"), (1_500_000, 1_500_000, "1.5 M"),
        (0.0005, 0.001, "0.0005"),
        (0.0005, 0.0009, "500 µ"), (0, 5, "0"),
    ],
)  # fmt: skip
def test_the_marks_of_an_axis_are_written_alike_by_its_largest(value: float, largest: float, text: str) -> None:
    assert formatting.mark(value, largest) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"objective": "ttft:p90<1s", "stat": "p90", "value": 12.5, "unit": "ms"}, "12.50 ms"),
        ({"objective": "ttft<1s", "stat": "p99", "value": 12.5, "unit": "ms"}, "p99 12.50 ms"),
        ({"objective": "ttft<1s", "stat": "p99", "value": None, "unit": "ms"}, "–"),
        ({"objective": "error_rate<1%", "stat": None, "value": 0.125, "unit": "share"}, "12.5%"),
        ({"objective": "itl<5ms", "stat": "p99", "value": 1, "unit": "ms", "between": [0.5, None]}, "p99 over 0.500 ms"),
    ],
)  # fmt: skip
def test_the_value_of_an_objective_names_the_statistic_that_was_chosen(row: dict[str, Any], text: str) -> None:
    assert formatting.objective_value(filled(ObjectiveResult, row)) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [({}, "2.500"), ({"p50": [2.0, 3.0]}, "2.500"), ({"p50": [1.0, 4.0]}, "1–4"), ({"p99": [1.0, 4.0]}, "2.500")],
)  # fmt: skip
def test_a_statistic_that_stamps_leave_open_is_where_it_may_lie(bounds: dict[str, Any], text: str) -> None:
    assert formatting.statistic(filled(Metric, p50=2.5, bounds=bounds), "p50") == text
