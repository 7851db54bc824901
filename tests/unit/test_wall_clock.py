"""A test of kernel stamps that fails while the wall clock is set is skipped. No other test is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import wall_clock


@pytest.mark.parametrize(
    ("marked", "set_by_ns", "outcome", "becomes"),
    [
        (True, 500_000, "failed", "skipped"),
        (True, -500_000, "failed", "skipped"),
        (True, 20_000, "failed", "failed"),
        (True, 500_000, "passed", "passed"),
        (False, 500_000, "failed", "failed"),
    ],
)
def test_a_failure_while_the_clock_is_set_says_nothing(
    marked: bool, set_by_ns: int, outcome: str, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = pytest.mark.wall_clock if marked else None
    item: Any = SimpleNamespace(stash=pytest.Stash(), path="test_x.py", get_closest_marker=lambda name: mark)
    report: Any = SimpleNamespace(outcome=outcome, longrepr=None)
    for when, offset in (("setup", 7_000), ("call", 7_000 + set_by_ns)):
        monkeypatch.setattr(wall_clock, "offset_ns", lambda offset=offset: offset)
        report.when, report.failed = when, outcome == "failed" and when == "call"
        wall_clock.excuse(item, report)
    assert report.outcome == becomes
    assert (report.longrepr is not None) == (becomes != outcome)
