"""Server metrics of each page and each data-parallel rank."""

from __future__ import annotations

from bench.server_metrics import ranks
from bench.server_metrics.scrapes import Scrape

S = 1_000_000_000
URLS = ["http://prefill/metrics", "http://decode/metrics"]


def page(second: int, number: int, **of_ranks: tuple[float, float]) -> Scrape:
    """vLLM's page: finished and running requests by rank."""
    values = {}
    for rank, (finished, running) in of_ranks.items():
        labels = f'engine="{rank[1:]}",model_name="m"'
        values[f'vllm:request_success_total{{{labels},finished_reason="stop"}}'] = finished
        values[f"vllm:num_requests_running{{{labels}}}"] = running
    values["process_cpu_seconds_total"] = float(second)
    return Scrape(t_ns=second * S, asked_ns=second * S, page=number, values=values)


def test_ranks_of_one_page_are_told_apart() -> None:
    scrapes = [page(0, 0, r0=(0, 2), r10=(100, 8), r2=(5, 2)), page(10, 0, r0=(30, 2), r10=(190, 8), r2=(5, 4))]
    found = ranks.describe(scrapes, URLS[:1], 0, 10 * S) or []
    assert [(part.rank, part.finished, part.running) for part in found] == [("0", 30, 2), ("2", 0, 3), ("10", 90, 8)]
    assert {part.url for part in found} == {URLS[0]}


def test_pages_are_told_apart_and_a_restart_is_no_loss() -> None:
    scrapes = [page(0, 0, r0=(50, 1)), page(0, 1, r0=(7, 0)), page(10, 0, r0=(20, 1)), page(10, 1, r0=(9, 0))]
    found = ranks.describe(scrapes, URLS, 0, 10 * S) or []
    assert [(part.url, part.rank, part.finished) for part in found] == [(URLS[0], "0", 20), (URLS[1], "0", 2)]


def test_pages_keep_their_urls_where_one_before_them_was_left() -> None:
    scrapes = [page(0, 1, r0=(0, 0)), page(0, 2, r0=(0, 0)), page(10, 1, r0=(3, 0)), page(10, 2, r0=(4, 0))]
    found = ranks.describe(scrapes, URLS, 0, 10 * S) or []
    assert [(part.url, part.finished) for part in found] == [(URLS[0], 3), (URLS[1], 4)]


def test_a_page_whose_url_is_lost_has_its_number() -> None:
    scrapes = [page(second, number, r0=(second * number, 0)) for second in (0, 10) for number in (0, 1, 2)]
    found = ranks.describe(scrapes, URLS, 0, 10 * S) or []
    assert [(part.url, part.finished) for part in found] == [(URLS[0], 0), (URLS[1], 10), ("page 2", 20)]
    assert [part.url for part in ranks.describe(scrapes, [], 0, 10 * S) or []] == ["page 0", "page 1", "page 2"]


def test_one_server_has_no_parts() -> None:
    assert ranks.describe([page(0, 0, r0=(0, 1)), page(9, 0, r0=(9, 1))], URLS[:1], 0, 9 * S) is None
    plain = Scrape(t_ns=0, asked_ns=0, page=0, values={"vllm:num_requests_running": 3.0})

    def endless() -> object:
        yield plain
        raise AssertionError("a page without ranks is not read on")

    assert ranks.describe(endless(), URLS[:1], 0, S) is None  # type: ignore[arg-type]
    assert ranks.describe([], [], 0, S) is None


def test_a_page_that_failed_has_no_part() -> None:
    failed = Scrape(t_ns=0, asked_ns=0, page=1, values={}, error="connection refused")
    assert ranks.describe([page(0, 0, r0=(0, 1)), failed, page(9, 0, r0=(9, 1))], URLS, 0, 9 * S) is None
