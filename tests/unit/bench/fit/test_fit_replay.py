"""What a replay says of how far a profile is off."""

from __future__ import annotations

import pytest

from bench.commands.fit_replay import compared, far_off
from bench.results.numbers import Metric
from bench.results.profile import Replay
from tests.support.results import filled


def replay(name: str, **off: float | None) -> Replay:
    rows = [
        {"number": f"{key}_ms", "quantile": "p50", "measured": 1.0, "replayed": 1.0, "off": value}
        for key, value in off.items()
    ]
    tail = {"number": "ttft_ms", "quantile": "p99", "measured": 1.0, "replayed": 9.0, "off": 8.0}
    return filled(Replay, name=name, held_out=False, numbers=[*rows, tail])


def test_loads_whose_medians_are_far_off_are_named() -> None:
    assert far_off([replay("one", ttft=0.149, tpot=-0.15), replay("none", ttft=None)]) == []
    said = far_off([replay("one", ttft=0.264, tpot=0.0), replay("two", tpot=-0.2, e2el=0.9)])
    assert [sentence[:44] for sentence in said] == [
        "one: the replayed TTFT p50 is +26% off: the ",
        "two: the replayed TPOT p50 is -20% off: the ",
    ]


def test_a_difference_is_a_share_of_what_was_measured() -> None:
    (row, *_) = compared({"ttft_ms": filled(Metric, p50=20.0)}, {"ttft_ms": filled(Metric, p50=25.0)})
    assert row.off == pytest.approx(0.25)
    assert compared({"ttft_ms": filled(Metric, p50=20.0)}, {}) == []
