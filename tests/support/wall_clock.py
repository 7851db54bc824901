"""Whether the wall clock was set. That of a virtual machine that stood still may be set by 0.5 ms ten times a second, for
minutes."""

from __future__ import annotations

import time

import pytest

SET_NS = 50_000
"""The clocks lie some microseconds apart from one reading to the next; beyond this the wall clock was set."""
_OFFSET = pytest.StashKey[int]()


def offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the narrowest of a few brackets."""
    brackets = []
    for _ in range(5):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        brackets.append((after - before, wall - (before + after) // 2))
    return min(brackets)[1]


def excuse(item: pytest.Item, report: pytest.TestReport) -> None:
    """A test marked `wall_clock`, which compares stamps of the kernel, that failed while the clock was set is a skip."""
    if item.get_closest_marker("wall_clock") is None:
        return
    began_ns = item.stash.setdefault(_OFFSET, offset_ns())  # When it is set up.
    if report.when == "call" and report.failed and abs(offset_ns() - began_ns) > SET_NS:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, "the wall clock was set while it ran, so its stamps say nothing")
