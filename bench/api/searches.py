"""Searches from Python: `python -m bench search` as a function with a typed result."""

from __future__ import annotations

import sys
from typing import Any

from bench.api.runs import Configuration, beside_loops, configuration
from bench.load_search.decisions import Search
from bench.load_search.driver import NOBODY
from bench.load_search.found import SearchResult
from bench.load_search.options import LoadKind, settings_of
from bench.load_search.visit_result import sought
from bench.load_search.whole import carry_out, new_directory
from bench.load_search.whole import result_of as search_result
from bench.metrics import objectives
from bench.observer import Observer
from bench.run_series import RunSeries
from bench.terminal import Terminal


def search(
    config: Configuration | None = None,
    *,
    load: LoadKind = "rate",
    start: float | None = None,
    least: float | None = None,
    most: float | None = None,
    precision: str = "10%",
    budget: str = "15m",
    require: float | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> SearchResult:
    """Find the load up to which every objective of `slo` holds: `python -m bench search`. docs/search.md explains it.

    `least` and `most` are its --min and --max. The observer follows the load of each visit. Ctrl-C gives the answer so far.
    Raises UsageError with every problem at once, TargetError where the target could not be measured even once.
    """
    amount: dict[str, Any] = {"rate": 1.0} if load == "rate" else {"concurrency": 1}
    base = configuration(config, **{"name": "search", **settings, **amount})
    wanted = sought(objectives.parse(base.slo))
    numbers = {"start": start, "min": least, "max": most, "require": require}
    given = {name: f"{value:g}" for name, value in numbers.items() if value is not None}
    given |= {"load": load, "precision": precision, "budget": budget}
    chosen, required = settings_of(given, tuple(one.goal for one in wanted))
    command = ("bench.search",)
    directory = new_directory(base, command)
    found = Search(chosen)
    follower = Terminal(sys.stderr, quiet=True) if observer is None else observer

    def work(watched: Observer) -> SearchResult:
        runs = RunSeries(directory.path, command=command, observer=watched)
        ended, rendered = carry_out(found, wanted, base, directory, runs, NOBODY, require=required)
        if ended.error is not None and not found.results:
            raise ended.error
        return search_result(directory, found, ended, rendered)

    return beside_loops(work, follower)
