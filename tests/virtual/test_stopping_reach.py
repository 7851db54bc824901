"""Intervals of runs ended by `--until` hold the truth as often as others: briefly, and with fixed seeds."""

from __future__ import annotations

import pytest

from tests.support.statistics_claims import LOADS, Load
from tests.support.stopping_reach import stopping

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize(("load", "goal", "runs"), [(LOADS[0], "ttft:p90=10%", 20), (LOADS[1], "ttft:p90=15%", 12)])
def test_nine_of_ten_intervals_hold_the_truth_where_a_run_stops(load: Load, goal: str, runs: int) -> None:
    found = stopping(load, goal, 600, runs, truth_runs=5)
    assert found.ended >= 0.9 * runs
    assert found.held / found.ended >= 0.9
    # They were ended well before the cap, and after two looks at least.
    assert 80 / 600 <= found.share_of_cap < 0.7
