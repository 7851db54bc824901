"""The time of a series that measures a real server."""

from __future__ import annotations

from bench.clock import NS_PER_S
from bench.series.runs import REAL_TIME


def test_a_wait_lasts_as_long_as_asked_for_and_none_ends_at_once() -> None:
    began_ns = REAL_TIME.now_ns()
    REAL_TIME.wait(-5.0)
    REAL_TIME.wait(0.0)
    REAL_TIME.wait(0.02)
    # The system's timers are exact to a millisecond at least.
    assert REAL_TIME.now_ns() - began_ns >= 0.019 * NS_PER_S
