"""The server's block for a window with known levels, counters and times."""

from __future__ import annotations

from typing import Any

import pytest

from bench.results.base import to_plain
from bench.results.summary import SummaryNumbers
from bench.server_metrics import block
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from tests.support.made_records import made_record
from tests.support.results import filled
from tests.support.tables import table_of

S = 1_000_000_000
START = 5_000 * S
E2EL = "vllm:e2e_request_latency_seconds"


def summary(first_s: float | None, last_s: float | None, *, whole_s: float | None = 8.0) -> Any:
    rates = {"requests_per_s": 10.0, "duration_s": whole_s}
    steady = None if first_s is None else {"throughput": rates}
    window = {"start_s": first_s, "end_s": last_s}
    return {"window": window, "steady": steady, "throughput": rates, "load": {"offered_rps": 10.0}}


def page(at_s: float) -> dict[str, float]:
    """4 running requests, and one more each second. 10 prompt tokens and one request per second. The first half took
    0.05 s each and the others 0.3 s: 0.2 s on average."""
    return {
        "vllm:num_requests_running": 4.0 + at_s,
        "vllm:kv_cache_usage_perc": 0.1 * at_s,
        "vllm:prompt_tokens_total": 700 + 10 * at_s,
        f'{E2EL}_bucket{{le="0.1"}}': at_s / 2,
        f'{E2EL}_bucket{{le="0.4"}}': at_s * 0.95,
        f'{E2EL}_bucket{{le="+Inf"}}': at_s,
        f"{E2EL}_sum": 0.2 * at_s,
        f"{E2EL}_count": at_s,
    }


def served(*at_s: float, error: str | None = None) -> ServerSeries:
    found = ServerSeries(SERVERS)
    for second in at_s:
        at = START + round(second * S)
        found.add(Scrape(t_ns=at, asked_ns=at, page=0, values=page(second)))
    if error is not None:
        found.add(Scrape(t_ns=START, asked_ns=START, page=0, values={}, error=error))
    return found


def client(end_s: float = 8.0) -> ClientTotals:
    found = ClientTotals()
    found.add(table_of(made_record(sent_ns=START, end_ns=START + round(end_s * S))))
    return found


def described(series: ServerSeries, numbers: Any, **of: float) -> dict[str, Any]:
    return to_plain(block.describe(series, ["http://h/metrics"], client(**of), filled(SummaryNumbers, numbers), START))


def test_a_steady_window_has_the_levels_counters_and_times_of_its_seconds() -> None:
    found = described(served(-1, *range(10), error="status 503"), summary(2.0, 6.0))
    assert found["window"] == {"start_s": 2, "end_s": 6, "of": "the steady window", "covered": True}
    assert (found["kind"], found["urls"], found["error"]) == ("vLLM", ["http://h/metrics"], "status 503")
    assert (found["scrapes"], found["failed_scrapes"], found["restarts"]) == (11, 1, 0)
    assert found["levels"] == {
        "running": {"mean": pytest.approx(8), "max": 10},
        "kv_cache_used": {"mean": pytest.approx(0.4), "max": pytest.approx(0.6)},
    }
    assert found["counters"] == {"prompt_tokens": {"total": 40, "per_s": 10}}
    assert found["latency"] == {
        "e2el_ms": {
            "n": pytest.approx(4), "mean": pytest.approx(200), "p50": [0, 100], "p90": [100, 400], "p99": [400, None],
        }
    }  # fmt: skip
    assert found["reconciliation"] is not None


def test_without_a_window_it_is_the_whole_run() -> None:
    found = described(served(-1, *range(10)), summary(None, None))
    assert found["window"] == {"start_s": 0, "end_s": 8, "of": "the whole run", "covered": True}
    assert found["counters"] == {"prompt_tokens": {"total": 80, "per_s": 10}}
    half = described(served(-1, *range(10)), summary(2.0, None))
    assert (half["window"]["start_s"], half["window"]["end_s"]) == (0, 8)
    begun = described(served(-1, *range(10)), summary(None, 6.0))
    assert (begun["window"]["start_s"], begun["window"]["end_s"]) == (0, 8)
    assert not described(served(*range(1, 10)), summary(None, None))["window"]["covered"]


def test_a_window_of_no_length_has_no_rate() -> None:
    found = described(served(-1, *range(10)), summary(None, None, whole_s=None))
    assert found["counters"] == {"prompt_tokens": {"total": 0, "per_s": None}}
    assert found["latency"] == {}


def test_a_page_that_nobody_could_read_is_of_no_kind() -> None:
    found = described(ServerSeries(SERVERS), summary(2.0, 6.0))
    assert (found["kind"], found["error"], found["scrapes"], found["reconciliation"]) == (None, None, 0, None)
    assert (found["levels"], found["counters"], found["latency"], found["limits"]) == ({}, {}, {}, [])


@pytest.mark.parametrize(("count", "shown"), [(1.0, True), (0.5, True), (0.0, False)])
def test_times_of_at_least_one_request_are_shown(count: float, shown: bool) -> None:
    # One request per second, so half a second has half a request.
    found = described(served(-1, *range(10)), summary(2.0, 2.0 + count))
    assert bool(found["latency"]) is shown


def test_answers_of_the_window_are_compared_with_what_was_offered() -> None:
    series = ServerSeries(SERVERS)
    for second in range(-1, 200):
        values = {"vllm:num_requests_running": 2.0, "vllm:num_requests_waiting": 0.0}
        at = START + second * S
        series.add(Scrape(t_ns=at, asked_ns=at, page=0, values=values))
    numbers = summary(0.0, 100.0) | {"load": {"offered_rps": 20.0}}
    assert "10.0 of 20.0 requests/s were answered" in described(series, numbers, end_s=100.0)["limits"][0]


def steps(series: ServerSeries, times_s: list[float], step_s: float = 1.0) -> dict[str, list[Any]]:
    found = block.over_steps(series, times_s, step_s, START)
    return {name: [None if v is None else round(v, 6) for v in values] for name, values in found.items()}


def test_a_chart_has_levels_in_the_middle_of_its_steps_and_counters_per_second() -> None:
    assert steps(served(*range(10)), [0.0, 2.0, 9.5], 2.0) == {
        "running": [5, 7, None],
        "kv_cache_used": [0.1, 0.3, None],
        "prompt_tokens_per_s": [10, 10, None],
    }


def test_steps_in_which_nobody_asked_have_no_rate_and_those_that_reach_over_the_ends_have_that_of_their_part() -> None:
    # Scraped from 1 to 3 s.
    found = steps(served(1, 2, 3), [-0.5, 0.0, 0.5, 2.5, 3.0, 4.0])
    assert found["prompt_tokens_per_s"] == [None, None, 10, 10, None, None]
    assert found["running"] == [None, None, 5, 7, None, None]


def test_a_chart_of_no_steps_or_of_no_page_is_empty() -> None:
    assert steps(served(1, 2, 3), []) == {"prompt_tokens_per_s": []}
    assert steps(ServerSeries(SERVERS), [0.0, 1.0]) == {}
    # Scraped before the first step and after the last, so what ran in between is unknown.
    assert steps(served(1, 9), [3.0, 5.0]) == {"prompt_tokens_per_s": [10, 10]}
    assert steps(served(1, 6, 9), [3.0, 5.0], 1.0)["running"] == [7.5, 9.5]
    assert "running" not in steps(served(1, 6.5, 9), [3.0, 5.0], 1.0)
    assert steps(served(1, 9), [3.0], 0.0) == {"prompt_tokens_per_s": [None]}  # A damaged file may say so.
