"""scripts/cluster-plan: its simulation loses no record, and its plan follows from the measurements."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[4] / "scripts" / "cluster_plan.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster_plan", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # The script's dataclass looks up its module there.
    spec.loader.exec_module(module)
    return module


def test_a_small_simulation_merges_every_record(script: ModuleType) -> None:
    # This raises if a record is missing at the end.
    cost = script.measured(workers=30, seconds=1.0)
    assert cost.call_s > 0
    assert cost.merge_s > 0
    assert 2_000 < cost.record_bytes < 4_000


def test_the_plan_follows_from_the_costs(script: ModuleType) -> None:
    cost = script.DriverCost(
        call_s=20e-6, record_s=5e-6, view_s=5e-6, merge_s=10e-6, record_bytes=1_000, worker_bytes=0
    )
    told = script.plan(cost, 128_000, (500e-6, 1e-9))
    # 6.4 million chunks/s need 66 workers, plus a third.
    assert told.startswith("128,000 streams of 50 tokens/s: 88 workers, 6,400,000 chunks/s")
    assert "176 calls/s, 50,000 records/s, 50 MB/s" in told
    assert "0.25 s + 0.14 s for Ray" in told
    assert "3,000,000 records, 3.0 GB, merged in 30 s" in told
