"""Objectives on jobs are for sessions only; problems with them come with advice."""

from __future__ import annotations

from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError

URL = {"url": "http://127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"slo": ["job:p90<60s"]},
            "jobs are what sessions consist of, and this is mode concurrency: use --mode sessions",
        ),
        ({"slo": ["jobs_per_hour>5"], "rate": 3}, "and this is mode rate"),
        ({"slo": ["jobs_per_hour_per_gpu>5"], "mode": "sessions"}, "say how many GPUs the server has, with --gpus"),
        ({"slo": ["job{model=a}:p90<60s"], "mode": "sessions", "model": "a=1,b=1"}, "a job may go to several models"),
        ({"slo": ["job:p90<60"], "mode": "sessions"}, "job needs a unit: write 60ms, 60s or 60us"),
        ({"slo": ["jobs_per_hour:p90>5"], "mode": "sessions"}, "is one number of the run and takes no statistic"),
        ({"slo": ["jobs_per_hour>5/s"], "mode": "sessions"}, "is a number per hour and takes no '/s'"),
        ({"slo": ["jbo:p90<60s"], "mode": "sessions"}, "did you mean 'job'"),
    ],
)
def test_a_wrong_objective_on_jobs_is_refused_with_what_to_do(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({**URL, **settings})
    assert len(refused.value.problems) == 1
    assert said in refused.value.problems[0]


def test_sessions_take_objectives_on_jobs_and_on_requests() -> None:
    slo = ["job:p90<60s", "jobs_per_hour_per_user>=30/h", "jobs_per_hour_per_gpu>5", "ttft:p99<15s"]
    config = resolve({**URL, "slo": slo, "mode": "sessions", "gpus": 2})
    units = [(one.metric, one.limit, one.unit, one.of_jobs, one.of_requests) for one in config.objectives]
    assert units == [
        ("job", 60.0, "s", True, False),
        ("jobs_per_hour_per_user", 30.0, "1/h", True, False),
        ("jobs_per_hour_per_gpu", 5.0, "1/h", True, False),
        ("ttft", 15000.0, "ms", False, True),
    ]
