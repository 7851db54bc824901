"""The server's metrics of each replica and each data-parallel rank: for every page, and every value of its rank label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from bench.results.server import ServerPart
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import Role
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

_RANK = re.compile(r'[{,](?:engine|dp_rank)="([^"]*)"')
"""vLLM names a data-parallel rank `engine`, SGLang `dp_rank`."""
MOST = 256


@lru_cache(maxsize=65536)
def _rank_of(sample: str) -> str | None:
    match = _RANK.search(sample)
    return None if match is None else match[1]


def describe(scrapes: Iterable[Scrape], urls: Sequence[str], start_ns: int, end_ns: int) -> list[ServerPart] | None:
    """The numbers of each page and rank between two instants. Returns None if there is only one. `urls`: the pages in
    order of their numbers, some of which are missing: a page without metrics before the load was dropped."""
    pages: set[int] = set()
    parts: dict[tuple[int, str | None], ServerSeries] = {}
    like = ServerSeries(SERVERS)
    for scrape in scrapes:
        pages.add(scrape.page)
        for rank, subset in _by_rank(scrape):
            place = (scrape.page, rank)
            if place in parts or len(parts) < MOST:
                parts.setdefault(place, ServerSeries(SERVERS, like=like)).add(subset)
        if len(urls) == 1 and len(parts) == 1:
            return None  # One server with one rank, or none: the rest of a long file need not be read again.
    parts = {place: series for place, series in parts.items() if series.found}
    if len(parts) < 2:
        return None
    url_of = dict(zip(sorted(pages), urls, strict=False))
    return [
        _part(series, url_of.get(page, f"page {page}"), rank, start_ns, end_ns)  # A damaged file may lack a URL.
        for (page, rank), series in sorted(parts.items(), key=_order)
    ]


def _order(item: tuple[tuple[int, str | None], ServerSeries]) -> tuple[int, int, str]:
    page, rank = item[0]
    return page, int(rank) if rank is not None and rank.isdecimal() else 0, rank or ""


def _by_rank(scrape: Scrape) -> Iterator[tuple[str | None, Scrape]]:
    """The scrape split by rank; unchanged if it names no rank."""
    values: dict[str, dict[str, float]] = {}
    for sample, value in scrape.values.items():
        if (rank := _rank_of(sample)) is not None:
            values.setdefault(rank, {})[sample] = value
    if not values:
        yield None, scrape
    for rank, samples in values.items():
        yield rank, replace(scrape, values=samples)


def _part(series: ServerSeries, url: str, rank: str | None, start_ns: int, end_ns: int) -> ServerPart:
    def mean(role: Role) -> float | None:
        level = series.level(role, start_ns, end_ns)
        return None if level is None else level[0]

    def mean_ms(role: Role) -> float | None:
        histogram = series.histogram(role, start_ns, end_ns)
        seconds = None if histogram is None else histogram.mean_s
        return None if seconds is None else seconds * 1e3

    return ServerPart(
        url=url,
        rank=rank,
        finished=series.rise(Role.FINISHED, start_ns, end_ns),
        generation_tokens=series.rise(Role.GENERATION_TOKENS, start_ns, end_ns),
        running=mean(Role.RUNNING),
        waiting=mean(Role.WAITING),
        kv_cache_used=mean(Role.KV_CACHE_USED),
        ttft_ms=mean_ms(Role.TTFT),
        itl_ms=mean_ms(Role.ITL),
    )
