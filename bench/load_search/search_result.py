"""The result of a search for Python callers: search.json as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import Exit
from bench.load_search.conclusion import Conclusion, Kind
from bench.load_search.decisions import Ending, Search
from bench.load_search.visits import Result


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The load up to which every objective holds. docs/search.md explains each kind of answer."""

    path: Path
    """The directory of the search; `search.html` is its page."""
    headline: str
    """The answer in a sentence."""
    conclusion: Kind
    """The kind of answer: "up to", "at least", "below", "no load held", "the server changed" or "none"."""
    capacity: float | None
    """The median; give `low` and `high` with it. None unless one visit held and one broke."""
    low: float | None
    high: float | None
    """The interval, about 90% sure."""
    at_least: float | None
    """The highest load of a visit that held, if no visit shows where the capacity ends."""
    below: float | None
    """The lowest load of a visit that broke, if no visit held."""
    held: float | None
    """The highest visited load that is held with 95% probability."""
    failed: float | None
    """The lowest visited load that does not hold, with 95% probability."""
    binding: str | None
    """The binding objective, or `keeps up`."""
    stopped_by: Ending
    exit: Exit
    """The exit status of the corresponding command."""
    visits: tuple[Result, ...]
    summary: Mapping[str, object]
    """The content of search.json."""

    @classmethod
    def of(
        cls, path: Path, headline: str, search: Search, conclusion: Conclusion, stopped_by: Ending, exit_status: Exit,
        summary: Mapping[str, Any],
    ) -> SearchResult:  # fmt: skip
        known = conclusion.known
        return cls(
            path=path,
            headline=headline,
            conclusion=conclusion.kind,
            at_least=conclusion.at_least,
            below=conclusion.below,
            capacity=None if known is None else known.estimate,
            low=None if known is None else known.low,
            high=None if known is None else known.high,
            held=None if known is None or known.held is None else known.held[0],
            failed=None if known is None or known.failed is None else known.failed[0],
            binding=None if known is None else known.binding,
            stopped_by=stopped_by,
            exit=exit_status,
            visits=tuple(search.results),
            summary=summary,
        )
