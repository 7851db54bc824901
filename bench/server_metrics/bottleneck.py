"""What limited the server, in plain sentences: each with the numbers that it rests on, and none without."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import LEVELS, SHARES, Role

KV_FULL = 0.95
"""A KV cache this full admits hardly anything: blocks are kept back for those that run."""
WAITS = 0.5
"""Requests that wait on average, from which on there is a queue and not a passing moment."""
NOT_SEEN = (
    "the server's metrics were read before and after the load alone, so what ran and waited meanwhile is not known"
)
"""Levels of a load that was over before the next reading."""
_SIGMAS = 3.0
"""By how many standard deviations arrivals may be fewer than asked for, by chance."""
PREFILL_TAKES = 0.5
"""The share of a request's time in the engine from which on prefill is what it waits for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The load as the client saw it in the same stretch of time: the rate asked for, that of answers. None: not known."""

    offered_rps: float | None = None
    answered_rps: float | None = None


def sentences(series: ServerSeries, start_ns: int, end_ns: int, sent: Sent, *, seen: bool = True) -> list[str]:
    """All that the window shows, the cause first. `seen`: whether the page was read while the load went on."""

    def level(role: Role) -> tuple[float, float] | None:
        return series.level(role, start_ns, end_ns) if seen else None

    found: list[str] = []
    if not seen and any(map(series.has, (*LEVELS, *SHARES))):
        found.append(NOT_SEEN)
    waiting, running, kv = level(Role.WAITING), level(Role.RUNNING), level(Role.KV_CACHE_USED)
    preempted = series.rise(Role.PREEMPTIONS, start_ns, end_ns)
    if waiting is not None and waiting[0] >= WAITS:
        queue = f"{waiting[0]:.1f} requests waited on average (at most {waiting[1]:.0f})"
        if kv is not None and kv[1] >= KV_FULL:
            found.append(
                f"memory of the KV cache was the limit: {queue} while up to {kv[1]:.0%} of it was in use: "
                "give it more memory, shorten prompts or replies, or send less at once"
            )
        elif running is not None:
            cache = "" if kv is None else f" and at most {kv[1]:.0%} of the KV cache was in use"
            found.append(
                f"{queue} while {running[0]:.1f} ran{cache}: the limit on requests or on tokens a step "
                "(vLLM: --max-num-seqs, --max-num-batched-tokens) held the others back"
            )
        else:
            found.append(f"{queue}: the server had more requests than it took in")
    if preempted:
        found.append(
            f"{preempted:,.0f} requests were preempted: the KV cache was too small for what ran, and work was done twice"
        )
    found += _prefill(series, start_ns, end_ns)
    ran = (
        running is None or running[1] > 0
    )  # Else the page was only read when nothing ran: of the load it says nothing.
    if waiting is not None and waiting[1] == 0 and ran:
        found.append(_nothing_waited(running, sent, (end_ns - start_ns) / 1e9))
    return found


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
        # What still runs at the end has no answer yet; and Poisson arrivals are fewer or more by the root of their number.
        usual = (0.0 if running is None else running[1]) + _SIGMAS * math.sqrt(sent.offered_rps * window_s)
        if missing > usual:
            return (
                f"nothing waited inside the server{ran}, and yet {sent.answered_rps:.1f} of {sent.offered_rps:.1f} "
                "requests/s were answered: the limit is in front of it (its HTTP front end, a proxy, or the client)"
            )
    return f"nothing waited inside the server{ran}: it could take more at once"
