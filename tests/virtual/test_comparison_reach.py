"""The error rates of `compare` and `gate`, in a short simulation. `scripts/compare-reach` runs a long one
(docs/dev/simulations.md)."""

from __future__ import annotations

import pytest

from bench.comparison.compare import Method
from tests.support.comparison_reach import alarms, changes_found, gate_alarms
from tests.support.statistics_claims import LOADS

pytestmark = [pytest.mark.slow, pytest.mark.long]

S2_HALF = next(load for load in LOADS if load.name == "S2 Poisson 50%")


def test_a_load_does_not_differ_from_itself() -> None:
    assert sum(alarms(S2_HALF, range(4), pairs=3)[method] for method in (Method.PAIRS, Method.RUNS)) <= 1


def test_a_change_of_5_percent_is_found_and_held() -> None:
    found, held = changes_found(S2_HALF, range(5), change=0.05, spread=0.01)
    assert found >= 4
    assert held >= 4


def test_a_gate_is_quiet_about_unchanged_code_and_finds_a_change() -> None:
    assert gate_alarms(range(400), spread=0.05) <= 8
    assert gate_alarms(range(100), spread=0.02, change=0.1) >= 90
