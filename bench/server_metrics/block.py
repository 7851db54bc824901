"""The `server` block of summary.json, and the server's series for the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.metrics.per_request import NS_PER_S
from bench.server_metrics.bottleneck import Sent, sentences
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import Histogram, ServerSeries
from bench.server_metrics.roles import COUNTERS, HISTOGRAMS, LEVELS, SHARES, Role

_MS = 1e3
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def describe(
    series: ServerSeries, urls: Sequence[str], client: ClientTotals, summary: Mapping[str, Any], start_ns: int
) -> dict[str, Any]:
    """What server.jsonl says, over the steady window of the summary (over the whole run where it has none).

    `start_ns` is the zero of the summary's times.
    """
    window, load = summary["window"], summary["load"]
    steady = window["start_s"] is not None
    whole_s = summary["throughput"]["duration_s"]
    # A run that ended in its warm-up has no duration.
    span = (window["start_s"], window["end_s"]) if steady else (0.0, 0.0 if whole_s is None else whole_s)
    begin, end = (start_ns + round(at * NS_PER_S) for at in span)
    found: dict[str, Any] = {
        "kind": " and ".join(table.name for table in series.found) or None,
        "urls": list(urls),
        "scrapes": series.scrapes,
        "failed_scrapes": series.failed,
        "restarts": series.restarts,
        "window": {
            "start_s": span[0],
            "end_s": span[1],
            "of": "the steady window" if steady else "the whole run",
            "covered": series.covers(begin, end),
        },
    }
    if not series.scrapes:
        return {
            **found,
            "error": series.last_error,
            "levels": {},
            "counters": {},
            "latency": {},
            "limits": [],
            "reconciliation": None,
        }
    rates = summary["throughput"] if summary["steady"] is None else summary["steady"]["throughput"]
    sent = Sent(offered_rps=load["offered_rps"], sent_rps=rates["requests_per_s"])
    reconciled = reconcile(series, client)
    return {
        **found,
        "error": series.last_error,
        "levels": {
            str(role): {"mean": level[0], "max": level[1]}
            for role in (*LEVELS, *SHARES)
            if (level := series.level(role, begin, end)) is not None
        },
        "counters": {
            str(role): {"total": rise, "per_s": rise / (span[1] - span[0]) if span[1] > span[0] else None}
            for role in COUNTERS
            if (rise := series.rise(role, begin, end)) is not None
        },
        "latency": {
            f"{role}_ms": _latency(histogram)
            for role in HISTOGRAMS
            if (histogram := series.histogram(role, begin, end)) is not None and histogram.count > 0
        },
        "limits": sentences(series, begin, end, sent),
        "reconciliation": None if reconciled is None else reconciled.to_json(),
    }


def _latency(histogram: Histogram) -> dict[str, Any]:
    """A histogram in ms: the mean is exact, a quantile lies between two bounds (the second None: above the last one)."""
    return {
        "n": histogram.count,
        "mean": None if histogram.mean_s is None else histogram.mean_s * _MS,
        **{
            name: None if (b := histogram.quantile_s(p)) is None else [b[0] * _MS, None if b[1] is None else b[1] * _MS]
            for name, p in _QUANTILES.items()
        },
    }


def over_steps(series: ServerSeries, times_s: Sequence[float], step_s: float, start_ns: int) -> dict[str, list[Any]]:
    """For each step of the page's charts: levels at its middle, and counters per second. None where nobody asked."""
    begins = [start_ns + round(at * NS_PER_S) for at in times_s]
    step_ns = round(step_s * NS_PER_S)
    found: dict[str, list[Any]] = {}
    for role in (*LEVELS, *SHARES):
        if series.has(role):
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
