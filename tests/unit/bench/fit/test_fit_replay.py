"""What a replay says of how far a profile is off."""

from __future__ import annotations

import pytest

from bench.commands.fit_replay import compared
from bench.fit.replayed import is_far_off, warnings_of
from bench.results.numbers import Metric
from bench.results.profile import Replay, ReplayedNumber
from tests.support.results import filled


def number(key: str, quantile: str, off: float | None, apart: bool | None = None) -> ReplayedNumber:
    return ReplayedNumber(number=f"{key}_ms", quantile=quantile, measured=1.0, replayed=1.0, off=off, apart=apart)


@pytest.mark.parametrize(
    ("quantile", "off", "apart", "far"),
    [
        ("p50", 0.149, True, False),
        ("p50", -0.151, None, True),
        ("p50", None, None, False),
        ("p90", 0.3, True, True),
        ("p99", -0.3, True, True),
        ("p99", 0.249, True, False),
        # The intervals overlap: chance alone may do it.
        ("p99", -0.9, False, False),
        # One load has too few values for an interval: its p99 is one slow request.
        ("p99", -0.9, None, False),
    ],
)
def test_a_tail_is_far_off_if_chance_does_not_explain_it(
    quantile: str, off: float | None, apart: bool | None, far: bool
) -> None:
    assert is_far_off(number("ttft", quantile, off, apart)) == far


def test_loads_whose_times_are_far_off_are_named_once_for_each_number() -> None:
    one = [number("ttft", "p50", 0.264), number("ttft", "p99", -0.6, apart=True), number("tpot", "p50", 0.0)]
    two = [number("tpot", "p99", 0.3, apart=True), number("e2el", "p50", 0.9)]
    loads = [filled(Replay, name=name, held_out=False, numbers=rows) for name, rows in (("one", one), ("two", two))]
    assert warnings_of(loads) == [
        "one: the replayed TTFT p50 is +26%, p99 is -60% off: the profile does not describe that load",
        "two: the replayed TPOT p99 is +30% off: the profile does not describe that load",
    ]


def test_a_difference_is_a_share_of_what_was_measured() -> None:
    (row, *_) = compared({"ttft_ms": filled(Metric, p50=20.0)}, {"ttft_ms": filled(Metric, p50=25.0)})
    assert row.off == pytest.approx(0.25)
    assert compared({"ttft_ms": filled(Metric, p50=20.0)}, {}) == []


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [([18, 22], [23, 27], True), ([24, 26], [18, 22], True), ([18, 23], [23, 27], False), (None, [23, 27], None)],
)
def test_intervals_of_a_replay_lie_apart(one: list[float] | None, two: list[float], apart: bool | None) -> None:
    sides = ({"ttft_ms": filled(Metric, p99=mid, ci95={"p99": ends})} for mid, ends in ((20.0, one), (25.0, two)))
    (row, *_) = (row for row in compared(*sides) if row.quantile == "p99")
    assert row.apart is apart
