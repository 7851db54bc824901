"""The `server` block of summary.json, and the server's series for the page of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.clock import NS_PER_S
from bench.results.server import Counter, Level, Server, ServerLatency, ServerWindow
from bench.results.summary import SummaryNumbers
from bench.server_metrics import ranks
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import Histogram, ServerSeries
from bench.server_metrics.roles import COUNTERS, HISTOGRAMS, LEVELS, SHARES, Role
from bench.server_metrics.run_window import window_of
from bench.server_metrics.scrapes import Scrape

KV_FULL = 0.95
"""A KV cache this full admits hardly anything: blocks are reserved for running requests."""
WAITS = 0.5
"""From this mean number of waiting requests on, there is a queue rather than a passing moment."""
NOT_SEEN = (
    "the server's metrics were read before and after the load alone, so what ran and waited meanwhile is not known"
)
"""For the levels of a load that was over before the next reading."""
_SIGMAS = 3.0
"""Arrivals may fall short of the requested rate by this many standard deviations by chance."""
PREFILL_TAKES = 0.5
"""If prefill takes this share of a request's time in the engine, it dominates."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The load as the client saw it in the same stretch of time: the requested rate, and the rate of answers. None:
    unknown."""

    offered_rps: float | None = None
    answered_rps: float | None = None


def sentences(series: ServerSeries, start_ns: int, end_ns: int, sent: Sent, *, seen: bool = True) -> list[str]:
    """All findings for the window, the cause first. `seen`: whether the page was read during the load."""

    def level(role: Role) -> tuple[float, float] | None:
        return series.level(role, start_ns, end_ns) if seen else None

    findings: list[str] = []
    if not seen and any(map(series.has, (*LEVELS, *SHARES))):
        findings.append(NOT_SEEN)
    waiting, running, kv = level(Role.WAITING), level(Role.RUNNING), level(Role.KV_CACHE_USED)
    preempted = series.rise(Role.PREEMPTIONS, start_ns, end_ns)
    if waiting is not None and waiting[0] >= WAITS:
        queue = f"{waiting[0]:.1f} requests waited on average (at most {waiting[1]:.0f})"
        if kv is not None and kv[1] >= KV_FULL:
            findings.append(
                f"memory of the KV cache was the limit: {queue} while up to {kv[1]:.0%} of it was in use: "
                "give it more memory, shorten prompts or replies, or send less at once"
            )
        elif running is not None:
            cache = "" if kv is None else f" and at most {kv[1]:.0%} of the KV cache was in use"
            findings.append(
                f"{queue} while {running[0]:.1f} ran{cache}: the limit on requests or on tokens a step "
                "(vLLM: --max-num-seqs, --max-num-batched-tokens) held the others back"
            )
        else:
            findings.append(f"{queue}: the server had more requests than it took in")
    if preempted:
        findings.append(
            f"{preempted:,.0f} requests were preempted: the KV cache was too small for what ran, and work was done twice"
        )
    findings += _prefill(series, start_ns, end_ns)
    ran = (
        running is None or running[1] > 0
    )  # Otherwise the page was only read when nothing ran, and does not show the load.
    if waiting is not None and waiting[1] == 0 and ran:
        findings.append(_nothing_waited(running, sent, (end_ns - start_ns) / 1e9))
    return findings


def _prefill(series: ServerSeries, start_ns: int, end_ns: int) -> list[str]:
    prefill = series.histogram(Role.PREFILL, start_ns, end_ns)
    decode = series.histogram(Role.DECODE, start_ns, end_ns)
    if prefill is None or decode is None or prefill.mean_s is None or decode.mean_s is None:
        return []
    whole = prefill.mean_s + decode.mean_s
    if whole <= 0 or prefill.mean_s / whole < PREFILL_TAKES:
        return []
    return [
        f"prefill took {prefill.mean_s / whole:.0%} of a request's time in the engine ({prefill.mean_s * 1e3:.0f} ms of "
        f"{whole * 1e3:.0f} ms on average): prompts, not replies, are the work"
    ]


def _nothing_waited(running: tuple[float, float] | None, sent: Sent, window_s: float) -> str:
    ran = "" if running is None else f", {running[0]:.1f} ran on average"
    if sent.offered_rps is not None and sent.answered_rps is not None and sent.answered_rps < 0.95 * sent.offered_rps:
        missing = (sent.offered_rps - sent.answered_rps) * window_s
        # Requests still running at the end have no answer yet; and Poisson arrivals vary by the square root of their
        # number.
        usual = (0.0 if running is None else running[1]) + _SIGMAS * math.sqrt(sent.offered_rps * window_s)
        if missing > usual:
            return (
                f"nothing waited inside the server{ran}, and yet {sent.answered_rps:.1f} of {sent.offered_rps:.1f} "
                "requests/s were answered: the limit is in front of it (its HTTP front end, a proxy, or the client)"
            )
    return f"nothing waited inside the server{ran}: it could take more at once"


_MS = 1e3
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def describe(
    series: ServerSeries,
    urls: Sequence[str],
    client: ClientTotals,
    summary: SummaryNumbers,
    start_ns: int,
    again: Callable[[], Iterable[Scrape]] = tuple,
) -> Server:
    """The block for server.jsonl, over the steady window of the summary (over the whole run if it has none).

    `start_ns` is the zero of the summary's times. `again` reads all scrapes once more, for the numbers of each page and
    rank.
    """
    window = window_of(summary, start_ns)
    begin, end = window.begin_ns, window.end_ns
    sent = Sent(offered_rps=summary.load.offered_rps, answered_rps=window.rates.requests_per_s)
    # A killed run has no page read after all requests had ended: counts would differ, and not because of an error.
    whole = series.last_ns is not None and series.last_ns >= client.last_end_ns
    reconciled = reconcile(series, client) if whole else None
    sampled = series.sampled(start_ns, client.last_end_ns)
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
            if sampled and (level := series.level(role, begin, end)) is not None
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
        parts=ranks.describe(again(), urls, begin, end),
        limits=sentences(series, begin, end, sent, seen=sampled),
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
    """For each step of the page's charts: levels at its middle, and counters per second. None if there was no scrape."""
    begins = [start_ns + round(at * NS_PER_S) for at in times_s]
    step_ns = round(step_s * NS_PER_S)
    values: dict[str, list[Any]] = {}
    sampled = bool(begins) and series.sampled(begins[0], begins[-1] + step_ns)
    for role in (*LEVELS, *SHARES):
        if sampled and series.has(role):
            values[str(role)] = [series.level_at(role, begin + step_ns / 2) for begin in begins]
    for role in COUNTERS:
        if series.has(role):
            values[f"{role}_per_s"] = [_rate(series, role, begin, begin + step_ns) for begin in begins]
    return values


def _rate(series: ServerSeries, role: Role, begin: int, end: int) -> float | None:
    first, last = series.first_ns, series.last_ns
    if first is None or last is None or end <= first or begin >= last:
        return None
    begin, end = max(begin, first), min(end, last)
    rise = series.rise(role, begin, end)
    return None if rise is None or begin == end else rise / ((end - begin) / NS_PER_S)
