"""The length of a turn's parts, the latency of its points, and the cost of a million tokens: by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.tuning.turns import Lengths, dollars, latency_of, lengths_of
from tests.unit.bench.tuning.test_spec import made

TWO_ARMS = {"seqs": [64, 16]}


@pytest.mark.parametrize(
    ("budget", "arms", "changes", "warmup_s", "visit_s", "search_s"),
    [
        # A turn gets 1/(4 x arms) of the budget. 15 s of that are for the start, 6/7 of the rest is the visit, and a
        # sixth of the visit is the warm-up.
        ("300s", 2, {}, 3.2, 19.3, 22.5),
        ("480s", 3, {}, 3.6, 21.4, 25.0),
        ("300s", 2, {"loads": "concurrency=4,8"}, 2.0, 9.6, 22.5),
        ("20s", 2, {}, 2.0, 5.0, 20.0),
        ("5h", 2, {}, 10.0, 60.0, 180.0),
        ("300s", 2, {"visit": "30s"}, 5.0, 30.0, 22.5),
        ("300s", 2, {"visit": "2m"}, 10.0, 120.0, 22.5),
        ("300s", 2, {"warmup": "0.5s"}, 0.5, 19.3, 22.5),
        ("300s", 2, {"visit": "0.5s", "warmup": "90s"}, 90.0, 0.5, 22.5),
    ],
)
def test_the_parts_of_a_turn_fit_four_turns_of_every_arm_into_the_budget(
    budget: str, arms: int, changes: dict[str, Any], warmup_s: float, visit_s: float, search_s: float
) -> None:
    lengths = lengths_of(made(flags={"seqs": [*range(arms)]}, budget=budget, **changes))
    assert lengths == Lengths(warmup_s, visit_s, search_s)


def test_a_turn_is_a_start_and_its_loads_or_a_start_and_its_search() -> None:
    lengths = Lengths(warmup_s=2.0, visit_s=10.0, search_s=40.0)
    assert lengths.turn_s(made(loads="concurrency=4,8,16")) == 15 + 3 * (2 + 10)
    assert lengths.turn_s(made(goal="held_load", objectives=["ttft:p99<1s"])) == 15 + 40


@pytest.mark.parametrize(
    ("objectives", "latency"),
    [
        ([], "e2el:p50"),
        (["ttft:p99<1s"], "ttft:p99"),
        (["error_rate<1%", "tpot:p90 <50ms", "ttft:p99<1s"], "tpot:p90"),
        (["e2el:p50<3s"], "e2el:p50"),
        (["ttft:p95<1s", "itl:p99<1s", "ttft:mean<1s"], "e2el:p50"),
    ],
)
def test_the_points_have_the_latency_of_the_first_objective_on_a_percentile(
    objectives: Sequence[str], latency: str
) -> None:
    assert latency_of(objectives) == latency


def test_a_million_tokens_cost_the_time_of_all_gpus_that_make_them() -> None:
    # 1,000 tokens/s are 3.6 million per hour. Four GPUs at $2 cost $8 per hour.
    spec = made(flags={"tp": [1, 4]}, gpus="tp", gpu_hour_cost=2.0)
    assert dollars(spec, 1, 1000.0) == pytest.approx(8 / 3.6)
    assert dollars(spec, 0, 1000.0) == pytest.approx(2 / 3.6)
    assert dollars(spec, 0, None) is None
    assert dollars(spec, 0, 0.0) is None
    assert dollars(made(flags=TWO_ARMS), 0, 1000.0) is None
