"""The steady part of a run: where its numbers stop being about the start and the end.

A window begins when the ramp and the warm-up have ended. In runs of 60 s and more MSER-5 (White, 1997) may move the
beginning further: with the output tokens per second in batches of five, leave out the d batches for which the standard
error of what remains is least, d at most half. The window ends with the last send: what comes after is drain.
Inside it, latencies are those of requests sent there, rates those of what arrived there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from bench.metrics.per_request import NS_PER_S
from bench.metrics.quantile import quantile

MSER_FROM_S = 60.0
BATCH = 5
MIN_ROUNDS = 10
"""A closed loop moves in waves; a cut one weighs at most a tenth when the window holds ten of them."""

CHANGES = "none: the load changes as planned, and each of its segments has numbers of its own"

_BATCHES_FOR_TESTS = 10
_SURE_Z = 2.576
_WORTH_SAYING = 0.05


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, in ns from the start of the run, by which method; `warnings` are sentences."""

    start_ns: int
    end_ns: int
    method: str
    warnings: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / NS_PER_S


def mser(values: Sequence[float], batch: int = BATCH) -> tuple[int, bool]:
    """How many leading values to leave out, and whether the search ended before its bound (half of all values).

    Where the best cut is the last one allowed, the series had not settled.
    """
    means = [fmean(values[i : i + batch]) for i in range(0, len(values) - batch + 1, batch)]
    best, best_error = 0, math.inf
    limit = len(means) // 2
    # From the end to the start, so that sums over the remainder grow by one term a step.
    total = total_of_squares = 0.0
    for d in range(len(means) - 1, -1, -1):
        total += means[d]
        total_of_squares += means[d] ** 2
        kept = len(means) - d
        error = (total_of_squares - total * total / kept) / kept**2
        if d <= limit and error <= best_error:
            best, best_error = d, error
    return best * batch, not means or best < limit


def stationarity(values: Sequence[float]) -> dict[str, Any] | None:
    """First half against second half, and a trend test, over batch means of a series; None for under ten batches.

    `half_change` is (second - first) / mean, `half_z` how many standard errors that is. `trend_z` is the Mann-Kendall
    statistic (about normal without a trend), `trend_change` the Theil-Sen slope over the whole length, over the mean.
    """
    size = max(1, len(values) // 40)
    means = [fmean(values[i : i + size]) for i in range(0, len(values) - size + 1, size)]
    n = len(means)
    overall = fmean(means) if means else 0.0
    if n < _BATCHES_FOR_TESTS or overall == 0:
        return None
    first, second = means[: n // 2], means[(n + 1) // 2 :]
    error = math.sqrt(stdev(first) ** 2 / len(first) + stdev(second) ** 2 / len(second))
    # Two constant halves have no error of their own: a floor keeps the ratio finite.
    error = max(error, 1e-9 * abs(overall))
    change = fmean(second) - fmean(first)
    pairs = [(means[j] - means[i], j - i) for i in range(n) for j in range(i + 1, n)]
    score = sum((d > 0) - (d < 0) for d, _ in pairs)
    # Kendall's variance without correction for ties; one is taken off the score for continuity.
    trend_z = (score - (score > 0) + (score < 0)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    slopes = sorted(d / steps for d, steps in pairs)
    return {
        "half_change": change / overall,
        "half_z": change / error,
        "trend_change": slopes[len(slopes) // 2] * n / overall,
        "trend_z": trend_z,
    }


def stationarity_warnings(tests: dict[str, Any] | None) -> list[str]:
    """What to say of a window that was not steady: changes that are sure (1 in 100) and over 5%."""
    if tests is None:
        return []
    warnings = []
    for change, sure, where in (
        (tests["half_change"], tests["half_z"], "in the second half of the steady window than in the first"),
        (tests["trend_change"], tests["trend_z"], "at the end of the steady window than at its start, by its trend"),
    ):
        if abs(sure) > _SURE_Z and abs(change) > _WORTH_SAYING:
            size = f"{abs(change):.0%}"
            warnings.append(f"Output was {size} {'lower' if change < 0 else 'higher'} {where}: the run was not steady.")
    return warnings


def steady_window(
    first_ns: float,
    last_ns: float,
    begin_ns: float,
    request_ns: float,
    over_time: dict[str, Any],
    border: Callable[[float], int],
) -> Window | None:
    """The steady window of a run whose first and last sends are given.

    None where it would be shorter than `request_ns`, the time that one request takes: hardly a response that was asked
    for inside would arrive inside. `begin_ns` is the end of ramp and warm-up, `over_time` the series of the run.
    `border(t)` is the first time from t on at which the token metrics can be cut: all metrics share one window.
    """
    begin = max(first_ns, begin_ns)
    method, warnings = "after ramp and warm-up", []
    if (last_ns - first_ns) / NS_PER_S >= MSER_FROM_S:
        method = "MSER-5 after ramp and warm-up"
        step_ns, zero_ns = over_time["step_s"] * NS_PER_S, over_time["t_s"][0] * NS_PER_S
        from_step = math.ceil((begin - zero_ns) / step_ns)
        until_step = math.floor((last_ns - zero_ns) / step_ns)
        left_out, settled = mser(over_time["output_tokens"][from_step:until_step])
        if left_out:
            begin = zero_ns + (from_step + left_out) * step_ns
        if not settled:
            warnings.append("Output had not settled after half of the run: the window may hold a part of the start.")
    start = first_ns if begin <= first_ns else border(begin)
    long_enough = last_ns - start > request_ns
    return Window(int(start), int(last_ns), method, warnings) if long_enough else None


def describe_window(
    window: Window | None,
    e2el_ms: Sequence[float],
    over_time: dict[str, Any],
    open_loop: bool,
    *,
    changes: bool = False,
) -> dict[str, Any]:
    """`window` of a summary; `e2el_ms` are the latencies of the requests sent inside, in ascending order. `changes`: the
    load was planned to change."""
    if window is None:
        too_short = "none: after ramp and warm-up, all was sent within the time that one request takes"
        why = CHANGES if changes else too_short
        return {"start_s": None, "end_s": None, "method": why, "rounds": None, "stationarity": None, "warnings": []}
    warnings = list(window.warnings)
    rounds = window.duration_s * 1000 / quantile(e2el_ms, 0.5) if e2el_ms and e2el_ms[-1] > 0 else None
    if rounds is not None and rounds < MIN_ROUNDS and not open_loop:
        warnings.append(
            f"The window holds {rounds:.1f} rounds of requests: streams in step come in waves, and a cut wave can move "
            f"its rates by up to {100 / max(rounds, 1):.0f}%."
        )
    step_ns = over_time["step_s"] * NS_PER_S
    inside = [
        amount
        for at_s, amount in zip(over_time["t_s"], over_time["output_tokens"], strict=True)
        if window.start_ns <= at_s * NS_PER_S and at_s * NS_PER_S + step_ns <= window.end_ns
    ]
    tests = stationarity(inside)
    return {
        "start_s": window.start_ns / NS_PER_S,
        "end_s": window.end_ns / NS_PER_S,
        "method": window.method,
        "rounds": rounds,
        "stationarity": tests,
        "warnings": warnings + stationarity_warnings(tests),
    }
