"""Samples of the server's page by their own names, whatever they mean: for charts on request."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from bench.clock import NS_PER_S
from bench.metrics.page_data import NamedSeries
from bench.server_metrics.role_series import Counter, Points, split_key
from bench.server_metrics.scrapes import Scrape

_RISING = ("_total", "_sum", "_count", "_bucket")
"""Suffixes of sample names that only rise, if the page does not declare them as a counter or a gauge."""


class UnknownName(Exception):
    """The pages have no such sample."""

    def __init__(self, name: str, near: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.near = tuple(near)


def named_series(
    scrapes: Iterable[Scrape], names: Sequence[str], times_s: Sequence[float], step_s: float, start_ns: int
) -> list[NamedSeries]:
    """The samples of these names in each step. Raises UnknownName, with the most similar existing names."""
    points: dict[tuple[str, int], Points] = {}
    known: set[str] = set()
    for scrape in scrapes:
        samples: dict[str, dict[str, float]] = {}
        for key, value in scrape.values.items():
            name, _ = split_key(key)
            known.add(name)
            if name in names:
                samples.setdefault(name, {})[key] = value
        for name, values in samples.items():
            kind = Counter if _rises(name, scrape.types) else Points
            series = points.setdefault((name, scrape.page), kind())
            if isinstance(series, Counter):
                series.add_samples(scrape.at_ns, values)
            else:
                series.add(scrape.at_ns, sum(values.values()))
    for name in names:
        if name not in known:
            raise UnknownName(name, difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4))
    step_ns = round(step_s * NS_PER_S)
    begins = [start_ns + round(at * NS_PER_S) for at in times_s]
    results = []
    for name in names:
        pages = [series for (of, _), series in points.items() if of == name]
        rising = any(isinstance(series, Counter) for series in pages)
        results.append(
            NamedSeries(name=name, rising=rising, values=[_value(pages, rising, at, step_ns) for at in begins])
        )
    return results


def _rises(name: str, types: Mapping[str, str]) -> bool:
    declared = types.get(name)
    return declared == "counter" if declared in ("counter", "gauge") else name.endswith(_RISING)


def _value(pages: Sequence[Points], rising: bool, begin_ns: int, step_ns: int) -> float | None:
    middle = begin_ns + step_ns / 2
    there = [page for page in pages if page.covers(middle)]
    if not there:
        return None
    if not rising:
        return sum(page.at(middle) for page in there)
    return sum(page.at(begin_ns + step_ns) - page.at(begin_ns) for page in there) / (step_ns / NS_PER_S)
