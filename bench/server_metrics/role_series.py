"""The samples of each role over time, of all pages together.

Between two scrapes a level is interpolated linearly. So is a counter, which only rises: if it falls, the server was
restarted, and its later counts are added. Window values are read off these lines, since no scrape falls on the ends of
a window.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bench.server_metrics.roles import (
    COUNTERS,
    GPU_MEANS,
    GPU_SUMS,
    HISTOGRAMS,
    LEVELS,
    SHARES,
    Role,
    Samples,
    ServerTable,
)
from bench.server_metrics.scrapes import Scrape

_KEY = re.compile(r"^([^{]+)(?:\{(.*)\})?$", re.DOTALL)
_LABEL = re.compile(r'([^=,{]+)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@lru_cache(maxsize=65536)
def split_key(key: str) -> tuple[str, Mapping[str, str]]:
    """The name and the labels of a full sample name."""
    match = _KEY.match(key)
    if match is None:
        return key, {}
    pairs = _LABEL.findall(match[2] or "")
    return match[1], {name: _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], value) for name, value in pairs}


@dataclass(slots=True)
class Points:
    """Values at rising instants."""

    at_ns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at_ns: int, value: float) -> None:
        """Add a value, later than all before."""
        self.at_ns.append(at_ns)
        self.values.append(value)

    def at(self, t_ns: float) -> float:
        """The value interpolated between the neighbours; before the first and after the last, theirs."""
        right = bisect_right(self.at_ns, t_ns)
        if right == 0:
            return self.values[0]
        if right == len(self.at_ns):
            return self.values[-1]
        before, after = self.at_ns[right - 1], self.at_ns[right]
        share = (t_ns - before) / (after - before)
        return self.values[right - 1] + share * (self.values[right] - self.values[right - 1])

    def covers(self, t_ns: float) -> bool:
        """Whether an instant lies between the first and the last."""
        return bool(self.at_ns) and self.at_ns[0] <= t_ns <= self.at_ns[-1]

    def mean(self, start_ns: int, end_ns: int) -> float:
        """The mean over a stretch of time, from the area under the line."""
        inner = [i for i, at in enumerate(self.at_ns) if start_ns < at < end_ns]
        times = [start_ns, *[self.at_ns[i] for i in inner], end_ns]
        values = [self.at(start_ns), *[self.values[i] for i in inner], self.at(end_ns)]
        if end_ns <= start_ns:
            return values[0]
        area = sum((values[i] + values[i + 1]) / 2 * (times[i + 1] - times[i]) for i in range(len(times) - 1))
        return area / (end_ns - start_ns)

    def most(self, start_ns: int, end_ns: int) -> float:
        """The largest value in a stretch of time; if there is none, the larger interpolated end."""
        inside = [v for at, v in zip(self.at_ns, self.values, strict=True) if start_ns <= at <= end_ns]
        return max(inside) if inside else max(self.at(start_ns), self.at(end_ns))


class Counter(Points):
    """Several counters, each including its counts before a restart: one of several engines on a page may be restarted,
    or missing for a while, which the sum alone would not show."""

    __slots__ = ("_last", "restarts", "said")

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self.said = 0.0
        """The sum of the latest values, as reported by the server."""
        self.restarts = 0

    def add_samples(self, at_ns: int, samples: Mapping[str, float]) -> None:
        """The values at an instant, by full names. A name that appears later was zero until then."""
        risen = 0.0
        fell = False
        for key, value in samples.items():
            before = self._last.get(key)
            began_anew = before is not None and value < before
            fell |= began_anew
            risen += value if before is None or began_anew else value - before
        self.restarts += fell
        self._last.update(samples)
        self.said = sum(samples.values())
        self.add(at_ns, self.values[-1] + risen if self.values else 0.0)

    def between(self, start_ns: float, end_ns: float) -> float:
        return self.at(end_ns) - self.at(start_ns)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values were at or below each bound (s), their number and their sum (s), over some stretch of time."""

    bounds_s: Sequence[float]
    at_or_below: Sequence[float]
    count: float
    sum_s: float

    @property
    def mean_s(self) -> float | None:
        """The mean, which a histogram gives exactly."""
        return self.sum_s / self.count if self.count > 0 else None

    def quantile_s(self, p: float) -> tuple[float, float | None] | None:
        """The two bounds around the p-quantile; the upper one is None above the last bound. Returns None if there are
        no values."""
        if self.count <= 0:
            return None
        low = 0.0
        for bound, below in zip(self.bounds_s, self.at_or_below, strict=True):
            if below >= p * self.count - 1e-9:
                return low, bound
            low = bound
        return low, None


_SUMS = frozenset((*LEVELS, *GPU_SUMS))
_MEANS = frozenset((*SHARES, *GPU_MEANS))

_TAILS = (("_bucket", None), ("_sum", "sum"), ("_count", "count"))
_NO_TAILS = (("", ""),)
_ALL = "+Inf"
"""The bound of the bucket that holds every value."""

_Place = tuple[Role, int, str]
"""A role, which of its names it has (in order of tables and of names), and the part: `le` of a bucket, `sum`, `count`."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A role that samples of a name may have: its table, and which part of a histogram they are; None: their `le`."""

    table: str
    role: Role
    rank: int
    part: str | None
    samples: Samples


def _by_name(tables: Sequence[ServerTable]) -> dict[str, list[_Named]]:
    """The names that the tables look for, as they appear on a page. Only histograms have parts."""
    index: dict[str, list[_Named]] = {}
    rank = 0
    for table in tables:
        for role, names in table.roles.items():
            for samples in names:
                rank += 1
                for tail, part in _TAILS if role in HISTOGRAMS else _NO_TAILS:
                    named = _Named(table.name, role, rank, part, samples)
                    index.setdefault(samples.name + tail, []).append(named)
    return index


class _PageSeries:
    def __init__(self, named: Mapping[str, Sequence[_Named]]) -> None:
        self._named = named
        self._places: dict[str, tuple[tuple[_Place, float], ...]] = {}
        self._levels: dict[_Place, Points] = {}
        self._counters: dict[_Place, Counter] = {}
        self.tables: set[str] = set()
        self.first_ns: int | None = None

    def add(self, scrape: Scrape) -> None:
        at = scrape.at_ns
        values: dict[_Place, dict[str, float]] = {}
        for key, value in scrape.values.items():
            places = self._places.get(key)
            if places is None:
                places = self._places[key] = tuple(self._find(key))
            for place, scale in places:
                values.setdefault(place, {})[key] = value * scale
        for place, of_all in values.items():
            role, samples = place[0], _each_once(of_all)
            if role in _MEANS:
                self._levels.setdefault(place, Points()).add(at, sum(samples.values()) / len(samples))
            elif role in _SUMS:
                self._levels.setdefault(place, Points()).add(at, sum(samples.values()))
            else:
                counter = self._counters.get(place)
                if counter is None:
                    counter = self._counters[place] = Counter()
                    if self.first_ns is not None:
                        # It appeared with the first request that it counts: until then it was zero.
                        counter.add_samples(self.first_ns, {})
                counter.add_samples(at, samples)
        if self.first_ns is None:
            self.first_ns = at

    def _find(self, key: str) -> Iterator[tuple[_Place, float]]:
        name, labels = split_key(key)
        for named in self._named.get(name, ()):
            part = _bound(labels.get("le")) if named.part is None else named.part
            if part is not None and named.samples.match(named.samples.name, labels):
                self.tables.add(named.table)
                yield (named.role, named.rank, part), named.samples.scale

    def _ranks(self, role: Role) -> Iterator[int]:
        yield from sorted({place[1] for place in (*self._levels, *self._counters) if place[0] is role})[:1]

    def level(self, role: Role) -> Points | None:
        """The role's level over time."""
        return next((self._levels[role, rank, ""] for rank in self._ranks(role)), None)

    def every_level(self) -> Iterable[Points]:
        return self._levels.values()

    def counter(self, role: Role) -> Counter | None:
        """The role's counter over time."""
        return next((c for rank in self._ranks(role) if (c := self._counters.get((role, rank, "")))), None)

    def buckets(self, role: Role) -> dict[str, Counter]:
        """The parts of the role's histogram."""
        for rank in self._ranks(role):
            return {part: c for (r, k, part), c in self._counters.items() if r is role and k == rank}
        return {}

    @property
    def restarts(self) -> int:
        """How often the server restarted its counters."""
        return max((counter.restarts for counter in self._counters.values()), default=0)


_SAME_REQUESTS = re.compile(r'(?:tp_rank|pp_rank|moe_ep_rank)="[^"]*",?')
"""SGLang's tensor-, pipeline- and expert-parallel ranks serve the same requests; data-parallel ranks do not."""


@lru_cache(maxsize=65536)
def _of_requests(key: str) -> str:
    return _SAME_REQUESTS.sub("", key)


def _each_once(samples: dict[str, float]) -> dict[str, float]:
    """The samples without duplicates: if several ranks report the same requests, the sample of the first rank."""
    firsts = {_of_requests(key): key for key in sorted(samples, reverse=True)}
    return samples if len(firsts) == len(samples) else {key: samples[key] for key in firsts.values()}


def _bound(text: str | None) -> str | None:
    """The bound of a bucket, the same for `1` and `1.0`. Returns None if it is not a bound."""
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return None if math.isnan(value) or value == -math.inf else _ALL if value == math.inf else repr(value)


class ServerSeries:
    """All pages: add every scrape in order of time, then ask."""

    def __init__(self, tables: Sequence[ServerTable], like: ServerSeries | None = None) -> None:
        """`like`: a series of the same tables, whose index is reused."""
        self._tables = tables
        self._named: Mapping[str, Sequence[_Named]] = _by_name(tables) if like is None else like._named
        self._pages: dict[int, _PageSeries] = {}
        self.scrapes = 0
        self.failed = 0
        self.last_error: str | None = None
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def add(self, scrape: Scrape) -> None:
        """Add a scrape from `read_scrapes`."""
        if scrape.error is not None:
            self.failed += 1
            self.last_error = scrape.error
            return
        self.scrapes += 1
        self.first_ns = scrape.at_ns if self.first_ns is None else min(self.first_ns, scrape.at_ns)
        self.last_ns = scrape.at_ns if self.last_ns is None else max(self.last_ns, scrape.at_ns)
        self._pages.setdefault(scrape.page, _PageSeries(self._named)).add(scrape)

    def add_all(self, scrapes: Iterable[Scrape]) -> ServerSeries:
        for scrape in scrapes:
            self.add(scrape)
        return self

    @property
    def found(self) -> tuple[ServerTable, ...]:
        """The tables that have samples on the pages."""
        names = {name for page in self._pages.values() for name in page.tables}
        return tuple(table for table in self._tables if table.name in names)

    @property
    def restarts(self) -> int:
        """How often a server restarted its counters."""
        return sum(page.restarts for page in self._pages.values())

    def _levels(self, role: Role) -> list[Points]:
        return [points for page in self._pages.values() if (points := page.level(role)) is not None]

    def _together(self, role: Role, values: Sequence[float]) -> float:
        return sum(values) / len(values) if role in _MEANS else sum(values)

    def sampled(self, start_ns: float, end_ns: float) -> bool:
        """Whether there was a scrape in a stretch of time. Levels before and after a load say nothing about it."""
        return any(
            bisect_left(points.at_ns, start_ns) < bisect_right(points.at_ns, end_ns)
            for page in self._pages.values()
            for points in page.every_level()
        )

    def level(self, role: Role, start_ns: int, end_ns: int) -> tuple[float, float] | None:
        """The mean of a level over a stretch of time, and its largest value in it."""
        pages = self._levels(role)
        if not pages:
            return None
        mean = self._together(role, [page.mean(start_ns, end_ns) for page in pages])
        times = sorted({at for page in pages for at in page.at_ns if start_ns <= at <= end_ns} | {start_ns, end_ns})
        if len(pages) == 1:
            return mean, pages[0].most(start_ns, end_ns)
        return mean, max(self._together(role, [page.at(at) for page in pages]) for at in times)

    def level_at(self, role: Role, t_ns: float) -> float | None:
        """A level at an instant; None before the first scrape and after the last."""
        pages = [page for page in self._levels(role) if page.covers(t_ns)]
        return self._together(role, [page.at(t_ns) for page in pages]) if pages else None

    def rise(self, role: Role, start_ns: float, end_ns: float) -> float | None:
        """How far a counter rose between two instants."""
        pages = [counter for page in self._pages.values() if (counter := page.counter(role)) is not None]
        return sum(page.between(start_ns, end_ns) for page in pages) if pages else None

    def said(self, role: Role) -> float | None:
        """The latest value of a counter, as reported by the servers."""
        pages = [counter for page in self._pages.values() if (counter := page.counter(role)) is not None]
        return sum(page.said for page in pages) if pages else None

    def covers(self, start_ns: float, end_ns: float) -> bool:
        """Whether there are scrapes on both sides of a stretch of time."""
        return (
            self.first_ns is not None
            and self.last_ns is not None
            and self.first_ns <= start_ns
            and end_ns <= self.last_ns
        )

    def histogram(self, role: Role, start_ns: float, end_ns: float) -> Histogram | None:
        """The increase of a histogram between two instants."""
        gained: dict[str, float] = {}
        for page in self._pages.values():
            for part, counter in page.buckets(role).items():
                gained[part] = gained.get(part, 0.0) + counter.between(start_ns, end_ns)
        if "count" not in gained or "sum" not in gained:
            return None
        by_bound = {float(part): value for part, value in gained.items() if part not in ("sum", "count", _ALL)}
        bounds = sorted(by_bound)
        return Histogram(bounds, [by_bound[bound] for bound in bounds], gained["count"], gained["sum"])

    def has(self, role: Role) -> bool:
        if role in COUNTERS:
            return self.rise(role, 0, 0) is not None
        if role in HISTOGRAMS:
            return any(page.buckets(role) for page in self._pages.values())
        return bool(self._levels(role))
