"""Interpolation between scrapes, counters and histograms, at every border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench.server_metrics.gpus import GPUS
from bench.server_metrics.role_series import Counter, Histogram, Points, ServerSeries, split_key
from bench.server_metrics.roles import Role
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

RUNNING, KV, PROMPTS = "vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total"


def line(*points: tuple[int, float], kind: type[Points] = Points) -> Any:
    found = kind()
    for at, value in points:
        found.add(at, value)
    return found


def series(*rows: tuple[int, Mapping[str, float]], page: int = 0, into: ServerSeries | None = None) -> ServerSeries:
    found = ServerSeries(SERVERS) if into is None else into
    for at, values in rows:
        found.add(Scrape(t_ns=at, asked_ns=at, page=page, values=values))
    return found


LINE = ((10, 1.0), (20, 5.0), (40, 3.0))


@pytest.mark.parametrize(("at", "value"), [(0, 1), (10, 1), (15, 3), (20, 5), (25, 4.5), (40, 3), (41, 3), (12.5, 2)])
def test_a_value_is_on_the_line_between_its_neighbours(at: float, value: float) -> None:
    assert line(*LINE).at(at) == pytest.approx(value)


@pytest.mark.parametrize(("at", "covered"), [(9, False), (10, True), (40, True), (41, False)])
def test_it_covers_what_lies_between_the_first_and_the_last(at: float, covered: bool) -> None:
    assert line(*LINE).covers(at) is covered
    assert not Points().covers(at)


@pytest.mark.parametrize(
    ("start", "end", "mean"),
    [
        (10, 40, (3 * 10 + 4 * 20) / 30),
        (15, 30, ((3 + 5) / 2 * 5 + (5 + 4) / 2 * 10) / 15),
        (12, 18, 3),
        (20, 40, 4),
        (10, 20, 3),
        (0, 20, (1 * 10 + 3 * 10) / 20),  # Before the first point, the first value holds.
        (15, 15, 3),
        (30, 20, 4),
    ],
)
def test_a_mean_is_the_area_under_the_line(start: int, end: int, mean: float) -> None:
    assert line(*LINE).mean(start, end) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("start", "end", "most"),
    [(10, 40, 5), (20, 40, 5), (10, 20, 5), (21, 40, 3), (21, 39, 4.9), (11, 19, 4.6), (10, 12, 1)],
)
def test_the_most_is_that_of_the_points_inside_or_of_the_line(start: int, end: int, most: float) -> None:
    assert line(*LINE).most(start, end) == pytest.approx(most)


def test_a_counter_begins_at_zero_and_counts_on_when_the_server_starts_again() -> None:
    found = Counter()
    for at, value in ((0, 100.0), (10, 130.0), (20, 130.0), (30, 20.0), (40, 5.0)):
        found.add_samples(at, {"x": value})
    assert found.values == [0, 30, 30, 50, 55]
    assert (found.restarts, found.said, found.between(10, 40), found.between(5, 15)) == (2, 5, 25, 15)


def test_quantiles_lie_between_the_bounds_that_hold_them() -> None:
    found = Histogram([0.1, 0.2, 0.4], [2.0, 5.0, 9.0], 10.0, 2.5)
    assert [found.quantile_s(p) for p in (0.1, 0.2, 0.21, 0.5, 0.51, 0.9, 0.91)] == [
        (0, 0.1), (0, 0.1), (0.1, 0.2), (0.1, 0.2), (0.2, 0.4), (0.2, 0.4), (0.4, None),
    ]  # fmt: skip
    assert found.mean_s == 0.25
    # Interpolated counters are not whole numbers. A billionth of a request counts as nothing.
    assert Histogram([0.1, 0.2], [0.5 - 5e-10, 1.0], 1.0, 1.0).quantile_s(0.5) == (0, 0.1)
    assert Histogram([0.1, 0.2], [0.5 - 5e-9, 1.0], 1.0, 1.0).quantile_s(0.5) == (0.1, 0.2)
    assert Histogram([0.1], [0.5], 0.5, 0.1).mean_s == 0.2
    assert Histogram([0.1], [0.0], 0.0, 0.0).mean_s is None


@pytest.mark.parametrize(
    ("key", "name", "labels"),
    [
        ("a", "a", {}),
        ("a{}", "a", {}),
        ('a{b="c",d="e"}', "a", {"b": "c", "d": "e"}),
        (r'a{b="x\ny\"z\\"}', "a", {"b": 'x\ny"z\\'}),
        ("{", "{", {}),
    ],
)
def test_a_whole_name_is_a_name_and_labels(key: str, name: str, labels: Mapping[str, str]) -> None:
    assert split_key(key) == (name, labels)


def test_samples_of_one_name_add_up_and_shares_have_a_mean() -> None:
    found = series(
        (0, {f'{RUNNING}{{e="0"}}': 3.0, f'{RUNNING}{{e="1"}}': 4.0, f'{KV}{{e="0"}}': 0.2, f'{KV}{{e="1"}}': 0.6})
    )
    assert (found.level_at(Role.RUNNING, 0), found.level_at(Role.KV_CACHE_USED, 0)) == (7, pytest.approx(0.4))


def test_of_two_names_of_a_role_the_first_in_the_table_counts() -> None:
    found = series((0, {"vllm:gpu_cache_usage_perc": 0.9}), (10, {"vllm:gpu_cache_usage_perc": 0.9, KV: 0.1}))
    assert found.level_at(Role.KV_CACHE_USED, 10) == 0.1
    assert series((0, {"vllm:gpu_cache_usage_perc": 0.9})).level_at(Role.KV_CACHE_USED, 0) == 0.9
    both = series((0, {"sglang:num_running_reqs": 5.0, RUNNING: 2.0}))
    assert both.level_at(Role.RUNNING, 0) == 2
    assert [table.name for table in both.found] == ["vLLM", "SGLang"]
    old = series((0, {"vllm:gpu_prefix_cache_hits_total": 0.0}), (10, {"vllm:gpu_prefix_cache_hits_total": 9.0}))
    assert old.rise(Role.PREFIX_HITS, 0, 10) == 9


def test_the_most_of_several_pages_is_that_of_their_sum() -> None:
    found = series((0, {RUNNING: 0.0}), (20, {RUNNING: 10.0}), (40, {RUNNING: 0.0}))
    series((0, {RUNNING: 8.0}), (10, {RUNNING: 8.0}), (40, {RUNNING: 2.0}), page=1, into=found)
    # 0 + 8, 5 + 8, 10 + 6 and 0 + 2.
    assert found.level(Role.RUNNING, 0, 40) == (pytest.approx(5 + (80 + 150) / 40), 16)
    assert found.level(Role.RUNNING, 2, 8) == (pytest.approx(2.5 + 8), pytest.approx(12))
    assert found.level(Role.WAITING, 0, 40) is None
    assert found.level_at(Role.RUNNING, 10) == 13


def test_scrapes_on_either_end_of_a_stretch_belong_to_it() -> None:
    # The sum is 12 at 10 ns, when the first page was read, and falls on both sides.
    found = series((0, {RUNNING: 0.0}), (10, {RUNNING: 4.0}), (20, {RUNNING: 0.0}))
    series((0, {RUNNING: 8.0}), (20, {RUNNING: 8.0}), page=1, into=found)
    assert found.level(Role.RUNNING, 5, 15) == (pytest.approx(11), 12)
    assert found.level(Role.RUNNING, 10, 15) == (pytest.approx(11), 12)
    assert found.level(Role.RUNNING, 5, 10) == (pytest.approx(11), 12)


def test_each_failed_scrape_is_counted_and_the_last_is_told() -> None:
    found = series((0, {RUNNING: 1.0}))
    for error in ("one", "two", "three"):
        found.add(Scrape(t_ns=5, asked_ns=5, page=0, values={}, error=error))
    assert (found.failed, found.last_error, found.scrapes) == (3, "three", 1)


def test_a_level_is_of_the_pages_that_were_asked_around_it() -> None:
    found = series((0, {RUNNING: 3.0}), (20, {RUNNING: 3.0}))
    series((10, {RUNNING: 8.0}), (40, {RUNNING: 8.0}), page=1, into=found)
    assert [found.level_at(Role.RUNNING, at) for at in (-1, 0, 10, 20, 21, 41)] == [None, 3, 11, 11, 8, None]


@pytest.mark.parametrize(
    ("start", "end", "seen"),
    [(0, 9, False), (0, 10, True), (10, 10, True), (11, 19, False), (11, 25, True), (20, 30, True), (21, 30, False)],
)
def test_a_stretch_of_time_was_seen_where_a_page_was_read_in_it(start: int, end: int, seen: bool) -> None:
    assert series((10, {RUNNING: 1.0}), (20, {RUNNING: 1.0})).sampled(start, end) is seen
    two = series((1000, {RUNNING: 1.0}))
    assert series((10, {KV: 1.0}), (20, {KV: 1.0}), page=1, into=two).sampled(start, end) is seen


def test_counters_and_histograms_alone_are_no_levels() -> None:
    assert not series((10, {PROMPTS: 1.0})).sampled(0, 20)


@pytest.mark.parametrize(("start", "end", "covered"), [(10, 20, True), (9, 20, False), (10, 21, False), (11, 19, True)])
def test_a_stretch_is_covered_between_the_first_and_the_last_scrape(start: int, end: int, covered: bool) -> None:
    assert series((10, {}), (20, {})).covers(start, end) is covered
    assert not ServerSeries(SERVERS).covers(start, end)


def test_times_of_scrapes_are_those_of_all_pages_in_any_order() -> None:
    found = series((20, {RUNNING: 1.0}))
    series((10, {RUNNING: 1.0}), (15, {RUNNING: 1.0}), page=1, into=found)
    assert (found.first_ns, found.last_ns, found.scrapes) == (10, 20, 3)
    assert (ServerSeries(SERVERS).first_ns, ServerSeries(SERVERS).last_error) == (None, None)


def test_restarts_are_those_of_each_server_however_many_counters_it_has() -> None:
    out = "vllm:generation_tokens_total"
    found = series((0, {PROMPTS: 9.0, out: 9.0}), (10, {PROMPTS: 1.0, out: 1.0}), (20, {PROMPTS: 0.0, out: 1.0}))
    assert found.restarts == 2
    series((0, {PROMPTS: 9.0}), (10, {PROMPTS: 1.0}), page=1, into=found)
    assert found.restarts == 3
    assert ServerSeries(SERVERS).restarts == 0
    assert found.said(Role.PROMPT_TOKENS) == 1
    assert found.said(Role.FINISHED) is None


def test_what_a_server_said_last_is_added_up_over_the_pages() -> None:
    found = series((0, {PROMPTS: 9.0}), (10, {PROMPTS: 12.0}))
    series((0, {PROMPTS: 100.0}), page=1, into=found)
    assert (found.said(Role.PROMPT_TOKENS), found.rise(Role.PROMPT_TOKENS, 0, 10)) == (112, 3)
    assert found.rise(Role.FINISHED, 0, 10) is None


E2EL = "vllm:e2e_request_latency_seconds"


def times(n: float, sum_s: float | None = 1.0, *, count: bool = True) -> dict[str, float]:
    found = {f'{E2EL}_bucket{{le="0.1"}}': n}
    if sum_s is not None:
        found[f"{E2EL}_sum"] = sum_s
    return found | ({f"{E2EL}_count": n} if count else {})


def test_a_histogram_needs_its_count_and_its_sum() -> None:
    whole = series((0, times(0, 0.0)), (10, times(4, 3.0)))
    assert whole.histogram(Role.E2EL, 0, 10) == Histogram([0.1], [4.0], 4.0, 3.0)
    assert whole.histogram(Role.E2EL, 0, 5) == Histogram([0.1], [2.0], 2.0, 1.5)
    assert series((0, times(0, None)), (10, times(4, None))).histogram(Role.E2EL, 0, 10) is None
    assert series((0, times(0, count=False)), (10, times(4, count=False))).histogram(Role.E2EL, 0, 10) is None
    assert whole.histogram(Role.TTFT, 0, 10) is None


def test_a_role_is_there_if_a_page_has_it() -> None:
    found = series((0, {RUNNING: 1.0, PROMPTS: 2.0, **times(1)}))
    roles: Sequence[Role] = (Role.RUNNING, Role.PROMPT_TOKENS, Role.E2EL)
    assert all(map(found.has, roles))
    assert not any(map(found.has, (Role.WAITING, Role.FINISHED, Role.TTFT, Role.KV_CACHE_USED)))
    assert not any(map(ServerSeries(SERVERS).has, roles))


def test_a_series_may_look_as_another_one_does() -> None:
    found = series((0, {RUNNING: 1.0}), into=ServerSeries(SERVERS, like=ServerSeries(SERVERS)))
    assert found.level_at(Role.RUNNING, 0) == 1
    assert ServerSeries(GPUS).add_all([Scrape(t_ns=0, asked_ns=0, page=0, values={RUNNING: 1.0})]).found == ()


def test_a_page_of_several_labels_is_looked_up_by_what_a_table_wants() -> None:
    success = "vllm:request_success_total"
    before = {f'{success}{{finished_reason="{why}"}}': 0.0 for why in ("stop", "length", "abort", "error")}
    after = dict(zip(before, (1.0, 20.0, 300.0, 4000.0), strict=True))
    found = series((0, before), (10, after))
    assert (found.rise(Role.FINISHED, 0, 10), found.rise(Role.ABORTED, 0, 10)) == (21, 300)
