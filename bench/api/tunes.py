"""Races of flags from Python: `python -m bench tune` as a function with a typed result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench import load_test
from bench.api.runs import run_outside_event_loop
from bench.config import RunConfig, resolve
from bench.observer import Observer
from bench.series.runs import RunSeries
from bench.tuning.measure import TuneResult
from bench.tuning.measure import tune as race
from bench.tuning.spec import read, spec_of


def tune(
    spec: Mapping[str, object] | str | Path,
    *,
    budget: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
) -> TuneResult:
    """Find the flags that make a server best: `python -m bench tune`. docs/compare.md explains it.

    `spec`: the content of the file, or its path. `resume`: go on with the race in `out`. After Ctrl-C, returns the answer so
    far. Raises UsageError with every problem at once.
    """

    def resolved(settings: Mapping[str, object]) -> RunConfig:
        return resolve(dict(settings))

    whole = spec_of(spec if isinstance(spec, Mapping) else read(Path(spec)), resolved, budget=budget)
    folder = load_test.default_directory("tune") if out is None else Path(out)

    def work(watched: Observer) -> TuneResult:
        series = RunSeries(folder, command=("bench.tune",), observer=watched)
        return race(whole, series, resolved, watched, resume=resume)

    return run_outside_event_loop(work, observer)
