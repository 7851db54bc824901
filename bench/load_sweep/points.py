"""The numbers of a run, of all runs of one load, and of all loads together: the knee, the frontier.

A number of a run is one value. For several runs of a load it is their mean on the log scale, with the t interval
between runs; for a single run it has the run's own interval, which does not cover the spread between runs. An INVALID
or FAILED run counts only if a load has no other, and the load is then marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import UNSET
from msgspec.structs import asdict, replace

from bench.results.status import Status
from bench.results.summary import RunSummary
from bench.results.sweep import (
    INPUTS,
    LATENCIES,
    RATES,
    SHARES,
    ParetoPlace,
    RepeatedRun,
    RunStatus,
    SweepPoint,
    SweepRun,
)
from bench.results.sweep import SweepNumber as Number
from bench.statistics import between_runs, knee
from bench.statistics.intervals import Interval
from bench.statistics.keeps_up import InFlight

USABLE = ("VALID", "SUSPECT")
_WORST_LAST = ("VALID", "SUSPECT", "INVALID", "FAILED")


def repeated_run(name: str, summary: RunSummary) -> RepeatedRun:
    """A run, from its summary.json."""
    status: RunStatus = Status(summary.verdict.status).value
    return RepeatedRun(
        name=name,
        status=status,
        reasons=list(summary.verdict.reasons),
        usable=status in USABLE,
        numbers=numbers_of(summary),
        inputs_are=None if summary.inputs is None else summary.inputs.are,
    )


def run_of(name: str, load: float, repeat: int, summary: RunSummary, *, open_loop: bool) -> SweepRun:
    """The same, with the fields of a sweep."""
    up = kept_up(summary) if open_loop else None
    return SweepRun(**asdict(repeated_run(name, summary)), load=load, repeat=repeat, kept_up=up)


def numbers_of(summary: RunSummary) -> dict[str, Number]:
    """The numbers of a summary.json: of its steady window, or of the whole run if it has none."""
    scope = summary if summary.steady is None else summary.steady
    throughput = scope.throughput
    goodput, counts = scope.goodput, summary.counts
    numbers = {name: _with(getattr(throughput, name), throughput.ci95[name]) for name in RATES[:3]}
    if throughput.inputs_per_s is not UNSET and (summary.inputs is None or summary.inputs.have_tokens):
        numbers[INPUTS] = _with(throughput.inputs_per_s, throughput.ci95.get(INPUTS))
    numbers["goodput_per_s"] = Number(None if goodput is None else goodput.requests_per_s)
    for name in LATENCIES:
        metric, stat = name.split(":")
        row = scope.latency[f"{metric}_ms"]
        numbers[name] = _with(row.of(stat), row.ci95.get(stat))
    if (jobs := summary.jobs) is not None:
        row, rates = jobs.job_s, jobs.rates
        numbers["job:p50"], numbers["job:p90"] = (_with(row.of(stat), row.ci95.get(stat)) for stat in ("p50", "p90"))
        numbers["jobs_per_hour"] = _with(rates.jobs_per_hour, rates.ci95["jobs_per_hour"])
    tried = counts.succeeded + counts.failed
    numbers["in_flight"] = Number(summary.load.concurrency_mean)
    numbers["goodput"] = Number(None if goodput is None else goodput.share)
    numbers["error_rate"] = Number(counts.failed / tried if tried else None)
    return numbers


def kept_up(summary: RunSummary) -> bool | None:
    """Whether the requests in flight stopped rising, over the seconds of a summary in which requests were sent.

    Warm-up requests are not in the series, so the check begins after the p90 of E2EL, but no later than a third of the
    run, since E2EL also grows if a server falls behind. Returns None for fewer than three seconds.
    """
    series, e2el_ms = summary.series, summary.latency["e2el_ms"].p90
    last_s = max((at_s for at_s, sent in zip(series.t_s, series.sent, strict=True) if sent), default=0.0)
    begin_s = 0.0 if e2el_ms is None else min(e2el_ms / 1000, last_s / 3)
    rows = [
        (in_flight, sent)
        for at_s, in_flight, sent in zip(series.t_s, series.in_flight, series.sent, strict=True)
        if at_s >= begin_s
    ]
    while rows and not rows[-1][1]:  # After the last send the load drains.
        rows.pop()
    rows = rows[:-1]  # The last second of sending is incomplete.
    third = len(rows) // 3
    if not third:
        return None
    first, middle, last = (fmean(n for n, _ in rows[k * third : (k + 1) * third]) for k in range(3))
    return not InFlight((first, middle, last), int(sum(sent for _, sent in rows))).grows


def _with(value: float | None, ends: Sequence[float] | None) -> Number:
    return Number(value) if ends is None else Number(value, ends[0], ends[1])


def together(runs: Sequence[RepeatedRun]) -> dict[str, Number]:
    """The combined numbers of runs with one configuration."""
    if len(runs) == 1:
        return dict(runs[0].numbers)
    numbers = {}
    for name in runs[0].numbers:
        values = [number.value for run in runs if (number := run.numbers[name]).value is not None]
        ratio = name not in SHARES
        if not values or (ratio and min(values) <= 0):
            numbers[name] = Number(None)
            continue
        spread = between_runs.spread(values, ratio=ratio)
        numbers[name] = Number(spread.mean, spread.low, spread.high, spread.sd)
    return numbers


def points_of(runs: Sequence[SweepRun], gpus: int | None) -> list[SweepPoint]:
    """A point for each load, in rising order; with `gpus` also its place relative to the Pareto frontier."""
    points = [_point([run for run in runs if run.load == load], gpus) for load in sorted({run.load for run in runs})]
    plotted = {p.load: plotted for p in points if p.usable and (plotted := _plotted(p)) is not None}
    places = {
        load: ParetoPlace(on_frontier=place.on_frontier, overlaps=place.overlaps)
        for load, place in zip(plotted, knee.pareto(list(plotted.values())), strict=True)
    }
    return [replace(point, place=places.get(point.load)) for point in points]


def _point(runs: Sequence[SweepRun], gpus: int | None) -> SweepPoint:
    usable = [run for run in runs if run.usable]
    numbers = together(usable or runs)
    worst = max(runs, key=lambda run: _WORST_LAST.index(run.status))
    per_gpu = None if gpus is None else _scaled(numbers["output_tokens_per_s"], 1 / gpus)
    return SweepPoint(
        load=runs[0].load,
        runs=len(runs),
        usable_runs=len(usable),
        status=worst.status,
        reasons=worst.reasons,
        numbers=numbers,
        kept_up=_kept_up(usable or runs),
        per_user=None if gpus is None else _inverse(numbers["tpot:p50"]),
        per_gpu=per_gpu,
        place=None,
        usable=bool(usable),
    )


def _kept_up(runs: Sequence[SweepRun]) -> bool | None:
    known = [run.kept_up for run in runs if run.kept_up is not None]
    return all(known) if known else None


def _scaled(number: Number, by: float) -> Number:
    value, low, high = (None if x is None else x * by for x in (number.value, number.low, number.high))
    return Number(value, low, high)


def _inverse(tpot_ms: Number) -> Number:
    """A user's tokens per second: the inverse of the time per token."""
    value, low, high = (None if not x else 1000 / x for x in (tpot_ms.value, tpot_ms.high, tpot_ms.low))
    return Number(value, low, high)


def _plotted(point: SweepPoint) -> knee.Point | None:
    user, gpu = point.per_user, point.per_gpu
    if user is None or gpu is None or user.value is None or gpu.value is None:
        return None
    return knee.Point(user.value, gpu.value, _interval(user), _interval(gpu))


def _interval(number: Number) -> Interval | None:
    return None if number.low is None or number.high is None else Interval(number.low, number.high)


def knee_of(runs: Sequence[SweepRun]) -> knee.Knee | None:
    """The saturation curve through every usable run of a sweep over concurrency. Returns None if no curve can be
    fitted."""
    fitted = [(run.load, value) for run in runs if run.usable and (value := _delivered(run.numbers).value) is not None]
    return knee.fit([load for load, _ in fitted], [value for _, value in fitted]) if fitted else None


def _delivered(numbers: Mapping[str, Number]) -> Number:
    """What the server delivers each second: output tokens, or else the inputs that it processed, or else requests."""
    output = numbers["output_tokens_per_s"]
    return numbers[INPUTS] if INPUTS in numbers else numbers["requests_per_s"] if output.value is None else output
