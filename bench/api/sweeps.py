"""Sweeps from Python: `python -m bench sweep` as a function with a typed result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import load_test
from bench.api.runs import Configuration, beside_loops, given_settings
from bench.config import RunConfig, resolve
from bench.errors import UsageError
from bench.load_sweep import measure as load_sweep
from bench.load_sweep import visits
from bench.load_sweep.measure import SweepResult
from bench.observer import Observer
from bench.run_series import RunSeries
from bench.terminal import Terminal


def sweep(
    loads: str,
    config: Configuration | None = None,
    *,
    repeats: int = 1,
    gpus: int | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: Any,
) -> SweepResult:
    """Measure at several loads, "concurrency=1..256x2" or "rate=5,10,20": `python -m bench sweep`. docs/sweep.md explains it.

    `resume`: go on with the sweep in `out`. The observer follows the load of each run. Ctrl-C gives the sweep so far. Raises
    UsageError with every problem at once, TargetError where the first run cannot be made.
    """
    several = visits.parse(loads, repeats)
    if gpus is not None and gpus < 1:
        raise UsageError(f"gpus={gpus}: give a whole number of at least 1")
    given = {"name": "sweep", **given_settings(config, settings)}

    def config_at(of_visit: Mapping[str, Any]) -> RunConfig:
        return resolve({**given, **of_visit})

    base = config_at(several.settings(several.values[0]))
    folder = load_test.default_directory(base.name) if base.out is None else Path(base.out)
    follower = Terminal(sys.stderr, quiet=True) if observer is None else observer

    def work(watched: Observer) -> SweepResult:
        command = ("bench.sweep",)
        runs = RunSeries(folder, command=command, observer=watched)
        return load_sweep.sweep(
            config_at, several, runs, given=given, gpus=gpus, command=command, resume=resume, say=watched.say
        )

    return beside_loops(work, follower)
