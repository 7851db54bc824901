"""Searches from Python: `python -m bench search` as a function with a typed result."""

from __future__ import annotations

from bench.api.runs import Configuration, given_settings, run_outside_event_loop
from bench.config import resolve, values
from bench.load_search.driver import Follower
from bench.load_search.options import LEFT_TO_THE_SEARCH
from bench.load_search.search_result import SearchResult
from bench.load_search.whole import carry_out, new_directory, plan
from bench.load_search.whole import result_of as search_result
from bench.loads import LoadName
from bench.observer import Observer
from bench.series.runs import RunSeries


def search(
    config: Configuration | None = None,
    *,
    load: LoadName = "rate",
    start: float | None = None,
    least: float | None = None,
    most: float | None = None,
    precision: str = "10%",
    budget: str = "15m",
    require: float | None = None,
    observer: Observer | None = None,
    **settings: object,
) -> SearchResult:
    """Find the highest load that keeps every objective of `slo`: `python -m bench search`. docs/search.md explains it.

    `least` and `most` are --min and --max. Settings of the load in `config` (rate, duration, ...) are ignored; as
    arguments they are refused. The observer follows the load of each visit. After Ctrl-C, returns the answer so
    far. Raises UsageError with every problem at once, TargetError if the target could not be measured even once.
    """
    numbers = {"start": start, "min": least, "max": most, "require": require}
    options = {name: values.as_text(value) for name, value in numbers.items() if value is not None}
    options |= {"load": load, "precision": precision, "budget": budget}
    defaults = {name: value for name, value in given_settings(config, {}).items() if name not in LEFT_TO_THE_SEARCH}
    beside = {name: value for name, value in settings.items() if name not in LEFT_TO_THE_SEARCH}
    whole = {"name": "search", **defaults, **beside}
    made = plan({**whole, **settings}, options, lambda amount: resolve({**whole, **amount}))
    command = ("bench.search",)
    directory, load_search = new_directory(made.base, command), made.search

    def work(watched: Observer) -> SearchResult:
        runs = RunSeries(directory.path, command=command, observer=watched)
        end, rendered = carry_out(
            load_search, made.wanted, made.base, directory, runs, Follower(), require=made.require
        )
        if end.error is not None and not load_search.results:
            raise end.error
        return search_result(directory, load_search, end, rendered)

    return run_outside_event_loop(work, observer)
