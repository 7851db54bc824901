"""Whether the wall clock was set. Some virtual machines set theirs by 0.5 ms ten times per second, for minutes."""

from __future__ import annotations

from functools import partial

import pytest

from mockserver.clock import measure_offset_ns

SET_NS = 50_000
"""The clocks differ by some microseconds from one reading to the next; beyond this the wall clock was set."""
offset_ns = partial(measure_offset_ns, tries=5)
_OFFSET = pytest.StashKey[int]()


def excuse(item: pytest.Item, report: pytest.TestReport) -> None:
    """Skip a test marked `wall_clock`, which compares the kernel's stamps, if it failed while the clock was set."""
    if item.get_closest_marker("wall_clock") is None:
        return
    began_ns = item.stash.setdefault(_OFFSET, offset_ns())  # At set-up.
    if report.when == "call" and report.failed and abs(offset_ns() - began_ns) > SET_NS:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, "the wall clock was set while it ran, so its stamps say nothing")
