"""Quality from Python: `python -m bench quality` as a function with a typed result."""

from __future__ import annotations

from pathlib import Path

from bench import load_test
from bench.answer_quality.measure import QualityResult, measure
from bench.answer_quality.options import ANSWERED, DEFAULT_ALONE, DEFAULT_SHARE, plan
from bench.api.runs import Configuration, given_settings, run_outside_event_loop
from bench.config import RunConfig, resolve
from bench.observer import Observer
from bench.series.runs import RunSeries
from bench.statistics.paired_shares import MARGIN


def quality(
    config: Configuration | None = None,
    *,
    share: float | str = DEFAULT_SHARE,
    alone: int = DEFAULT_ALONE,
    margin: float = MARGIN,
    strict: bool = False,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: object,
) -> QualityResult:
    """Find out whether load changes the answers: `python -m bench quality`. docs/quality.md explains it.

    The settings are those of the loaded run; `probes` says which questions are asked. `resume`: go on with the series in
    `out`. The observer follows the load of each run. Ctrl-C gives the runs so far. Raises UsageError with every problem at
    once, TargetError if the server cannot be measured.
    """
    defaults = {name: value for name, value in given_settings(config, {}).items() if name not in ANSWERED}
    merged = {
        "name": "quality",
        **defaults,
        **{name: value for name, value in settings.items() if name not in ANSWERED},
    }
    options = {"share": str(share), "alone": str(alone), "margin": str(margin)}

    def resolved(of_quality: dict[str, object]) -> RunConfig:
        return resolve({**merged, **of_quality})

    made = plan(settings, options, resolved, strict=strict)
    folder = load_test.default_directory(made.loaded.name) if made.loaded.out is None else Path(made.loaded.out)

    def work(watched: Observer) -> QualityResult:
        return measure(made, RunSeries(folder, command=("bench.quality",), observer=watched), resume=resume)

    return run_outside_event_loop(work, observer)
