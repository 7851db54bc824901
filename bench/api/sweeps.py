"""Sweeps from Python: `python -m bench sweep` as a function with a typed result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import load_test
from bench.api.runs import Configuration, given_settings, run_outside_event_loop
from bench.config import RunConfig, resolve
from bench.load_sweep import measure as load_sweep
from bench.load_sweep.measure import SweepResult
from bench.load_sweep.options import SET_BY_LOADS, plan
from bench.observer import Observer
from bench.series.runs import RunSeries


def sweep(
    loads: str,
    config: Configuration | None = None,
    *,
    repeats: int = 1,
    gpus: int | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: object,
) -> SweepResult:
    """Measure at several loads, "concurrency=1..256x2" or "rate=5,10,20": `python -m bench sweep` (docs/search.md).

    `resume` continues the sweep in `out`. Settings of the load in `config` (rate, concurrency, steps) are ignored;
    as arguments they are refused. The observer follows the load of each run. After Ctrl-C, returns the sweep so far.
    Raises UsageError with every problem at once, TargetError if the first run fails.
    """
    defaults = {name: value for name, value in given_settings(config, {}).items() if name not in SET_BY_LOADS}
    merged = {
        "name": "sweep",
        **defaults,
        **{name: value for name, value in settings.items() if name not in SET_BY_LOADS},
    }
    options = {"loads": loads, "repeats": f"{repeats}", **({} if gpus is None else {"gpus": f"{gpus}"})}

    def config_at(of_visit: Mapping[str, Any]) -> RunConfig:
        return resolve({**merged, **of_visit})

    made = plan(settings, options, config_at)
    base = made.base
    folder = load_test.default_directory(base.name) if base.out is None else Path(base.out)

    def work(watched: Observer) -> SweepResult:
        runs = RunSeries(folder, command=("bench.sweep",), observer=watched)
        return load_sweep.sweep(config_at, made.loads, runs, given=merged, gpus=made.gpus, resume=resume)

    return run_outside_event_loop(work, observer)
