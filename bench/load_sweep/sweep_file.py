"""sweep.json: the stored sweep, rewritten after each run. Its format: bench/report/load_sweep.schema.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load_sweep.points import knee_of, points_of
from bench.load_sweep.visits import Loads
from bench.results.sweep import SCHEMA, FittedKnee, SweepContent, SweepRun
from bench.statistics.intervals import Interval
from bench.statistics.knee import LEAST_LOADS, LEAST_POINTS, Knee

NO_KNEE_OF_RATES = "no knee: it is fitted over users (--loads concurrency=1..256x2)"
NO_CEILING = "no knee: the throughput shows no ceiling up to the highest load: sweep further up"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFacts:
    """The facts of a sweep besides its runs."""

    date: str
    version: str
    host: Mapping[str, str | int]
    command: Sequence[str]
    config: Mapping[str, object]
    """The configuration of the first run, without secrets."""
    model: str | None
    loads: Loads
    gpus: int | None


def content_of(facts: SweepFacts, runs: Sequence[SweepRun], sha256: str, *, ended: str | None) -> SweepContent:
    """The content of sweep.json. `ended`: why it ended before its last run."""
    fitted = knee_of(runs) if facts.loads.whole else None
    return SweepContent(
        schema=SCHEMA,
        date=facts.date,
        version=facts.version,
        host=facts.host,
        command=list(facts.command),
        config_sha256=sha256,
        url=str(facts.config["url"]),
        model=facts.model,
        config=facts.config,
        kind=facts.loads.kind,
        unit=facts.loads.unit,
        loads=list(facts.loads.values),
        repeats=facts.loads.repeats,
        gpus=facts.gpus,
        ended=ended,
        runs=list(runs),
        points=points_of(runs, facts.gpus),
        knee=None if fitted is None else _knee(fitted, _highest(runs)),
        no_knee=NO_KNEE_OF_RATES if not facts.loads.whole else None if fitted else _no_knee(runs),
    )


def _no_knee(runs: Sequence[SweepRun]) -> str:
    usable = [run.load for run in runs if run.usable]
    if len(usable) >= LEAST_POINTS and len(set(usable)) >= LEAST_LOADS:
        return NO_CEILING
    return (
        f"no knee: it needs {LEAST_POINTS} usable runs over {LEAST_LOADS} loads, and has {len(usable)} over "
        f"{len(set(usable))}: sweep more loads"
    )


def _knee(fitted: Knee, highest: float) -> FittedKnee:
    return FittedKnee(
        ceiling=fitted.ceiling,
        ceiling_interval=_ends(fitted.ceiling_interval),
        half_at=fitted.half_at,
        half_at_interval=_ends(fitted.half_at_interval),
        # Beyond the highest measured load the curve is extrapolated.
        ninety_percent_at=fitted.ninety_percent_at if fitted.ninety_percent_at <= highest else None,
        warning=fitted.warning,
    )


def _highest(runs: Sequence[SweepRun]) -> float:
    return max(run.load for run in runs if run.usable)


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
