"""Intervals of runs that `--until` ended contain the truth as often as others, in short simulations with fixed seeds."""

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
    # The runs ended well before the cap, and after at least two checks.
    assert 80 / 600 <= found.share_of_cap < 0.7
