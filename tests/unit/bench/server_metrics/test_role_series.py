"""Levels, counters and histograms between two instants, against the input."""

from __future__ import annotations

import pytest

from bench.server_metrics.role_series import Histogram, ServerSeries
from bench.server_metrics.roles import Role
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

S = 1_000_000_000
RUNNING, PROMPTS = "vllm:num_requests_running", "vllm:prompt_tokens_total"


def series(*rows: tuple[float, dict[str, float]], page: int = 0, into: ServerSeries | None = None) -> ServerSeries:
    found = ServerSeries(SERVERS) if into is None else into
    for at_s, values in rows:
        at = round(at_s * S)
        found.add(Scrape(t_ns=at, asked_ns=at, page=page, values=values))
    return found


def test_a_level_is_on_the_line_between_two_scrapes() -> None:
    found = series((0, {RUNNING: 0.0}), (1, {RUNNING: 10.0}), (3, {RUNNING: 10.0}), (4, {RUNNING: 0.0}))
    # Over 0.5 to 3.5 s: half a second from 5 to 10, two of 10, half a second from 10 to 5.
    assert found.level(Role.RUNNING, S // 2, 7 * S // 2) == (pytest.approx((3.75 + 20 + 3.75) / 3), 10.0)
    assert found.level_at(Role.RUNNING, S // 2) == 5.0
    assert found.level_at(Role.RUNNING, 5 * S) is None


def test_a_window_between_two_scrapes_has_the_level_of_the_line() -> None:
    found = series((0, {RUNNING: 0.0}), (10, {RUNNING: 10.0}))
    assert found.level(Role.RUNNING, 4 * S, 6 * S) == (pytest.approx(5.0), pytest.approx(6.0))


def test_a_counter_rises_evenly_between_scrapes() -> None:
    found = series((0, {PROMPTS: 1_000.0}), (2, {PROMPTS: 1_200.0}), (4, {PROMPTS: 1_200.0}))
    assert found.rise(Role.PROMPT_TOKENS, S, 3 * S) == 100.0
    assert found.rise(Role.PROMPT_TOKENS, 0, 4 * S) == 200.0


def test_a_server_that_is_started_again_counts_on() -> None:
    found = series((0, {PROMPTS: 1_000.0}), (1, {PROMPTS: 1_300.0}), (2, {PROMPTS: 50.0}), (3, {PROMPTS: 80.0}))
    assert found.rise(Role.PROMPT_TOKENS, 0, 3 * S) == 300 + 50 + 30
    assert found.restarts == 1


@pytest.mark.parametrize(
    ("second", "risen", "restarts"),
    [
        ({"0": 1_100.0, "1": 20.0}, 120.0, 1),  # The sum falls.
        ({"0": 2_000.0, "1": 20.0}, 1_020.0, 1),  # The sum rises.
        ({"0": 1_100.0}, 100.0, 0),
        ({"0": 1_100.0, "1": 500.0, "2": 7.0}, 107.0, 0),
    ],
)
def test_an_engine_of_several_on_a_page_starts_again_or_is_missing_without_touching_the_others(
    second: dict[str, float], risen: float, restarts: int
) -> None:
    def row(values: dict[str, float]) -> dict[str, float]:
        return {f'{PROMPTS}{{engine="{engine}"}}': value for engine, value in values.items()}

    found = series((0, row({"0": 1_000.0, "1": 500.0})), (1, row(second)))
    assert (found.rise(Role.PROMPT_TOKENS, 0, S), found.restarts) == (risen, restarts)
    series((2, row({"1": 600.0} | second)), into=found)
    back = 100.0 if "1" not in second else 0.0
    assert found.rise(Role.PROMPT_TOKENS, 0, 2 * S) == risen + back


def test_a_counter_that_comes_with_its_first_request_was_zero_before() -> None:
    found = series((0, {RUNNING: 0.0}), (1, {RUNNING: 1.0, PROMPTS: 70.0}), (2, {RUNNING: 1.0, PROMPTS: 90.0}))
    assert found.rise(Role.PROMPT_TOKENS, 0, 2 * S) == 90.0


def test_replicas_add_up_and_shares_have_a_mean() -> None:
    kv = "vllm:kv_cache_usage_perc"
    found = series((0, {RUNNING: 2.0, PROMPTS: 5.0, kv: 0.2}), (2, {RUNNING: 2.0, PROMPTS: 25.0, kv: 0.2}))
    series(
        (1, {RUNNING: 6.0, PROMPTS: 100.0, kv: 0.8}), (3, {RUNNING: 6.0, PROMPTS: 300.0, kv: 0.8}), page=1, into=found
    )
    assert found.level(Role.RUNNING, 0, 3 * S) == (8.0, 8.0)
    assert found.level(Role.KV_CACHE_USED, 0, 3 * S) == (pytest.approx(0.5), pytest.approx(0.5))
    # The first page rises by 10 per second until 2 s, the second by 100 per second from 1 s.
    assert found.rise(Role.PROMPT_TOKENS, S, 2 * S) == pytest.approx(110.0)


def test_ranks_that_serve_the_same_requests_count_once_and_data_parallel_ones_each() -> None:
    def at(retracted: float) -> dict[str, float]:
        ranks = [(dp, pp, tp) for dp in (0, 1) for pp in (0, 1) for tp in (0, 1, 10)]
        labels = [f'{{dp_rank="{dp}",model_name="m",pp_rank="{pp}",tp_rank="{tp}"}}' for dp, pp, tp in ranks]
        running = {f"sglang:num_running_reqs{of}": 5.0 + dp for of, (dp, _, _) in zip(labels, ranks, strict=True)}
        return running | {f"sglang:num_retracted_requests_total{of}": retracted for of in labels}

    found = series((0, at(0)), (1, at(3)))
    assert (found.level_at(Role.RUNNING, S), found.rise(Role.PREEMPTIONS, 0, S)) == (11.0, 6.0)


def test_a_histogram_of_a_window_has_an_exact_mean_and_quantiles_between_bounds() -> None:
    def row(count: int, low: int, total: float) -> dict[str, float]:
        name = "vllm:time_to_first_token_seconds"
        return {
            f'{name}_bucket{{le="0.1"}}': low,
            f'{name}_bucket{{le="0.5"}}': count - 1,
            f'{name}_bucket{{le="+Inf"}}': count,
            f"{name}_sum": total,
            f"{name}_count": count,
        }

    found = series((0, row(10, 5, 3.0)), (1, row(110, 65, 23.0))).histogram(Role.TTFT, 0, S)
    assert found is not None
    assert (found.count, found.mean_s) == (100, pytest.approx(0.2))
    assert [found.quantile_s(p) for p in (0.5, 0.6, 0.61, 1.0)] == [(0.0, 0.1), (0.0, 0.1), (0.1, 0.5), (0.1, 0.5)]


def test_above_the_last_bound_nothing_bounds_a_quantile() -> None:
    assert Histogram([0.1], [0.0], 4, 2.0).quantile_s(0.5) == (0.1, None)
    assert Histogram([0.1], [0.0], 0, 0.0).quantile_s(0.5) is None


def test_a_failed_scrape_is_counted_and_nothing_else() -> None:
    found = series((0, {PROMPTS: 1.0}))
    found.add(Scrape(t_ns=S, asked_ns=S, page=0, values={}, error="status 503"))
    assert (found.scrapes, found.failed, found.last_error, found.last_ns) == (1, 1, "status 503", 0)


def test_bounds_that_are_written_differently_are_one_and_what_is_no_bound_is_passed_over() -> None:
    name = "vllm:time_to_first_token_seconds"

    def page(**counts: float) -> dict[str, float]:
        buckets = {f'{name}_bucket{{le="{bound}"}}': count for bound, count in counts.items()}
        return {**buckets, f"{name}_count": 4.0, f"{name}_sum": 6.0, RUNNING: 1.0}

    found = series((0, {RUNNING: 0.0}), (2, page(**{"1": 1, "4": 4, "+Inf": 4, "": 9, "x": 9, "nan": 9, "-Inf": 9})))
    series((0, {RUNNING: 0.0}), (2, page(**{"1.0": 2, "4.0": 4, "inf": 4})), page=1, into=found)
    histogram = found.histogram(Role.TTFT, 0, 2 * S)
    assert histogram == Histogram([1.0, 4.0], [3.0, 8.0], 8.0, 12.0)
    assert histogram.quantile_s(0.5) == (1.0, 4.0)
