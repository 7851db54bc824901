"""The `server` block of summary.json, and the server's series for the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.metrics.request_metrics import NS_PER_S
from bench.results.server import Counter, Level, Server, ServerLatency, ServerWindow
from bench.server_metrics.bottleneck import Sent, sentences
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import Histogram, ServerSeries
from bench.server_metrics.roles import COUNTERS, HISTOGRAMS, LEVELS, SHARES, Role
from bench.server_metrics.run_window import window_of

if TYPE_CHECKING:
    from bench.results.summary import SummaryNumbers

_MS = 1e3
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def describe(
    series: ServerSeries, urls: Sequence[str], client: ClientTotals, summary: SummaryNumbers, start_ns: int
) -> Server:
    """What server.jsonl says, over the steady window of the summary (over the whole run where it has none).

    `start_ns` is the zero of the summary's times.
    """
    window = window_of(summary, start_ns)
    begin, end = window.begin_ns, window.end_ns
    sent = Sent(offered_rps=summary.load.offered_rps, answered_rps=window.rates.requests_per_s)
    # A run that was killed has no page that was read when all had ended: counts would differ, and nobody would be at fault.
    whole = series.last_ns is not None and series.last_ns >= client.last_end_ns
    reconciled = reconcile(series, client) if whole else None
    seen = series.sampled(start_ns, client.last_end_ns)
    return Server(
        kind=" and ".join(table.name for table in series.found) or None,
        urls=list(urls),
        scrapes=series.scrapes,
        failed_scrapes=series.failed,
        restarts=series.restarts,
        window=ServerWindow(
            start_s=window.start_s,
            end_s=window.end_s,
            of="the steady window" if window.steady else "the whole run",
            covered=series.covers(begin, end),
        ),
        error=series.last_error,
        levels={
            str(role): Level(mean=level[0], max=level[1])
            for role in (*LEVELS, *SHARES)
            if seen and (level := series.level(role, begin, end)) is not None
        },
        counters={
            str(role): Counter(total=rise, per_s=rise / window.seconds if window.seconds > 0 else None)
            for role in COUNTERS
            if (rise := series.rise(role, begin, end)) is not None
        },
        latency={
            f"{role}_ms": _latency(histogram)
            for role in HISTOGRAMS
            if (histogram := series.histogram(role, begin, end)) is not None and histogram.count > 0
        },
        limits=sentences(series, begin, end, sent, seen=seen),
        reconciliation=reconciled,
    )


def _latency(histogram: Histogram) -> ServerLatency:
    """A histogram in ms: the mean is exact, a quantile lies between two bounds (the second None: above the last one)."""
    return ServerLatency(
        n=histogram.count,
        mean=None if histogram.mean_s is None else histogram.mean_s * _MS,
        **{
            name: None if (b := histogram.quantile_s(p)) is None else [b[0] * _MS, None if b[1] is None else b[1] * _MS]
            for name, p in _QUANTILES.items()
        },
    )


def over_steps(series: ServerSeries, times_s: Sequence[float], step_s: float, start_ns: int) -> dict[str, list[Any]]:
    """For each step of the page's charts: levels at its middle, and counters per second. None where nobody asked."""
    begins = [start_ns + round(at * NS_PER_S) for at in times_s]
    step_ns = round(step_s * NS_PER_S)
    found: dict[str, list[Any]] = {}
    seen = bool(begins) and series.sampled(begins[0], begins[-1] + step_ns)
    for role in (*LEVELS, *SHARES):
        if seen and series.has(role):
            found[str(role)] = [series.level_at(role, begin + step_ns / 2) for begin in begins]
    for role in COUNTERS:
        if series.has(role):
            found[f"{role}_per_s"] = [_rate(series, role, begin, begin + step_ns) for begin in begins]
    return found


def _rate(series: ServerSeries, role: Role, begin: int, end: int) -> float | None:
    first, last = series.first_ns, series.last_ns
    if first is None or last is None or end <= first or begin >= last:
        return None
    begin, end = max(begin, first), min(end, last)
    rise = series.rise(role, begin, end)
    return None if rise is None else rise / ((end - begin) / NS_PER_S)
