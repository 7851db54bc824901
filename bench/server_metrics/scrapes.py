"""The lines of server.jsonl. A page has a thousand samples, few of which change in a second: a line holds only changes.

    {"t_ns": ..., "asked_ns": ..., "page": 0, "url": ..., "types": {...}, "values": {sample: value}}   the first of a page
    {"t_ns": ..., "asked_ns": ..., "page": 0, "changed": {number: value}, "values": {sample: value}, "gone": [number]}
    {"t_ns": ..., "asked_ns": ..., "page": 0, "error": "..."}                                           no answer

Samples are numbered from 0 in the order of their first appearance in a page's `values`. `changed`, `values` (new ones)
and `gone` are left out if empty. Times are ns of CLOCK_MONOTONIC on the client: the values belong to an instant between
`asked_ns` and `t_ns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.server_metrics.exposition import MOST, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """All samples of one page at one time. `error`: why there are none."""

    t_ns: int
    asked_ns: int
    page: int
    values: Mapping[str, float]
    error: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    """The types of its page, by the name of the family."""

    @property
    def at_ns(self) -> int:
        """The midpoint of the time in which the server made the page."""
        return (self.asked_ns + self.t_ns) // 2


class ScrapeLines:
    """Makes the lines of one page, in order."""

    def __init__(self, page: int, url: str) -> None:
        self._page = page
        self._url = url
        self._last: dict[str, float] | None = None
        self._numbers: dict[str, int] = {}

    def line(self, asked_ns: int, t_ns: int, result: Page | str) -> bytes:
        """The line for a page, or for an error."""
        row: dict[str, Any] = {"t_ns": t_ns, "asked_ns": asked_ns, "page": self._page}
        if isinstance(result, str):
            row["error"] = result
        elif self._last is None:
            row |= {"url": self._url, "types": result.types, "values": result.values}
        else:
            before, numbers = self._last, self._numbers
            new = {key: value for key, value in result.values.items() if key not in numbers}
            changed = {
                str(numbers[key]): value
                for key, value in result.values.items()
                if key in numbers and before.get(key) != value
            }
            gone = [numbers[key] for key in before if key not in result.values]
            row |= {name: rows for name, rows in (("changed", changed), ("values", new), ("gone", gone)) if rows}
        if not isinstance(result, str):
            self._last = result.values
            for key in result.values:
                self._numbers.setdefault(key, len(self._numbers))
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def read_scrapes(lines: Iterable[bytes]) -> Iterator[Scrape]:
    """Every scrape with all its samples. A torn or foreign line is skipped.

    All scrapes share one mapping that grows: read its values before the next scrape.
    """
    pages: dict[int, dict[str, float]] = {}
    names: dict[int, dict[int, str]] = {}
    types: dict[int, dict[str, str]] = {}
    for line in lines:
        try:
            row = orjson.loads(line)
            t_ns, asked_ns, page = int(row["t_ns"]), int(row["asked_ns"]), int(row["page"])
            if "error" in row:
                yield Scrape(t_ns=t_ns, asked_ns=asked_ns, page=page, values={}, error=str(row["error"]))
                continue
            values = pages.setdefault(page, {})
            known = names.setdefault(page, {})
            if "types" in row:
                types[page] = dict(row["types"])
            for number, value in row.get("changed", {}).items():
                values[known[int(number)]] = _counted(value)
            for number in row.get("gone", ()):
                values.pop(known[int(number)], None)
            for key, value in row.get("values", {}).items():
                known[len(known)] = key
                values[key] = _counted(value)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue
        yield Scrape(t_ns=t_ns, asked_ns=asked_ns, page=page, values=values, types=types.get(page, {}))


def _counted(value: object) -> float:
    """A number that a page can have. Raises ValueError or TypeError."""
    if isinstance(value, int | float) and abs(value) <= MOST:
        return float(value)
    raise ValueError(f"{value} is no number of a page")


def urls_in(lines: Iterable[bytes]) -> list[str]:
    """The URLs of the scraped pages, in order."""
    urls: dict[int, str] = {}
    for line in lines:
        try:
            row = orjson.loads(line)
            if "url" in row:
                urls.setdefault(int(row["page"]), str(row["url"]))
        except (ValueError, TypeError, KeyError):
            continue
    return [urls[page] for page in sorted(urls)]
