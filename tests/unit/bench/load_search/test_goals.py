"""Which objectives can be searched for, and how many requests may break each."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.load_search.goals import Goal, goal, goals


@pytest.mark.parametrize(
    ("metric", "stat", "op", "limit", "allowed"),
    [
        ("ttft", "p99", "<", 500.0, 0.01),
        ("e2el", "p75", "<", 500.0, 0.25),
        ("e2el", "p95", "<", 500.0, 0.05),
        ("e2el", "p999", "<=", 5_000.0, 0.001),
        ("error_rate", None, "<", 6e-10, 1e-9),
        ("error_rate", None, "<", 0.123456789, 0.123456789),
        ("goodput", None, ">=", 0.999999999, 1e-9),
        ("tpot", "p50", "<", 30.0, 0.5),
        ("ttft", "mean", "<", 200.0, None),
        ("tps", "p50", ">", 20.0, 0.5),
        ("tps", "p90", ">=", 20.0, 0.9),
        ("tps", "mean", ">", 20.0, None),
        ("error_rate", None, "<", 0.01, 0.01),
        ("goodput", None, ">=", 0.95, 0.05),
        ("job", "p90", "<", 60.0, 0.1),
        ("job", "mean", "<", 60.0, None),
    ],
)
def test_an_objective_allows_a_share_of_violations(
    metric: str, stat: str | None, op: str, limit: float, allowed: float | None
) -> None:
    assert goal("text", metric, stat, op, limit) == Goal("text", allowed)


@pytest.mark.parametrize(
    ("metric", "stat", "op", "limit", "says"),
    [
        ("requests_per_s", None, ">=", 10.0, "rises with the load"),
        ("output_tokens_per_s", None, ">", 900.0, "rises with the load"),
        ("jobs_per_hour", None, ">", 9.0, "rises with the load"),
        ("jobs_per_hour_per_gpu", None, ">", 9.0, "rises with the load"),
        ("error_rate", None, "<=", 0.0, "allows none of the requests"),
        ("error_rate", None, "<=", 4e-10, "allows none of the requests"),  # The file has nine digits.
        ("goodput", None, ">", 0.0, "allows all of the requests"),
        ("ttft", "max", "<", 500.0, "one request decides max"),
        ("ttft", "min", "<", 500.0, "one request decides min"),
        ("ttft", "mean", "<", 0.0, "give a limit above 0"),
        ("tps", "mean", ">", 0.0, "give a limit above 0"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    metric: str, stat: str | None, op: str, limit: float, says: str
) -> None:
    with pytest.raises(UsageError, match='--slo "text": ') as raised:
        goal("text", metric, stat, op, limit)
    (problem,) = raised.value.problems
    assert says in problem


def test_all_problems_come_at_once() -> None:
    with pytest.raises(UsageError) as raised:
        goals([("a", "ttft", "max", "<", 1.0), ("b", "ttft", "p99", "<", 1.0), ("c", "requests_per_s", None, ">", 1.0)])
    assert [problem[:9] for problem in raised.value.problems] == ['--slo "a"', '--slo "c"']


def test_a_search_without_an_objective_is_refused() -> None:
    with pytest.raises(UsageError, match="needs an objective"):
        goals([])
