"""The steady part of a run, without the effects of its start and its end.

A window begins after the ramp and the warm-up. In runs of 60 s or more, MSER-5 (White, 1997) may move the beginning
later. The window ends with the last send; the rest is drain. Latencies cover the requests sent inside, rates count what
arrived inside.

MSER-5, and the test whether the halves of the window differ, use the series that can show a change. In an open loop,
output follows arrivals whatever the server does, so they use TPOT and TTFT per second; in a closed loop they use TPOT
and output tokens (`bench/statistics/steady_state.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.clock import NS_PER_S
from bench.metrics.quantile import quantile
from bench.results.load import HalvesTest, SteadyWindow
from bench.results.numbers import QuantilesOverTime
from bench.results.series import Series as SeriesOverTime
from bench.statistics import steady_state
from bench.statistics.steady_state import mser

MSER_FROM_S = 54.0
"""The time from the first to the last send in a run of a minute: with few users, the last send may be seconds before
its end."""
MIN_ROUNDS = 10
"""A closed loop moves in waves. A cut wave has a weight of at most a tenth if the window contains ten of them."""

CHANGES = "none: the load changes, and each of its segments has numbers of its own"

SERIES = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2EL", "output_tokens": "Output"}
_OPEN, _CLOSED = ("ttft_ms", "tpot_ms"), ("output_tokens", "tpot_ms")
_NOT_STREAMED = ("e2el_ms",)
"""The series used instead of TTFT and TPOT if no response was streamed."""


@dataclass(frozen=True, slots=True)
class Window:
    """The start and the end, in ns from the start of the run, and the method. `warnings` are sentences."""

    start_ns: int
    end_ns: int
    method: str
    warnings: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S


Series = dict[str, dict[int, float]]
"""By name: the values by step, without steps that have no value."""


def _that_show(over_time: SeriesOverTime, open_loop: bool, from_step: int, until_step: int) -> Series:
    """The series, between two steps, that can show whether a run is steady."""

    def between(name: str) -> dict[int, float]:
        row = getattr(over_time, name)
        values: Sequence[float | None] = row.mean if isinstance(row, QuantilesOverTime) else row
        steps = range(max(from_step, 0), min(until_step, len(values)))
        return {step: value for step in steps if (value := values[step]) is not None}

    series = {name: between(name) for name in (_OPEN if open_loop else _CLOSED)}
    if series["tpot_ms"]:
        return series
    # If replies are not generated text, the series of output tokens is all zeros and shows nothing.
    return {name: values for name, values in series.items() if any(values.values())} | {
        name: between(name) for name in _NOT_STREAMED
    }


def _cut(series: Series) -> tuple[int | None, list[str]]:
    """The step at which the window begins, by the later cut of MSER-5 (None for no cut), and the series that had not
    settled."""
    cut_step, unsettled = None, []
    for name, values in series.items():
        cut = mser(list(values.values()))
        if cut.left_out:
            step = list(values)[cut.left_out]
            cut_step = step if cut_step is None else max(cut_step, step)
        if not cut.settled:
            unsettled.append(name)
    return cut_step, unsettled


def _halves(series: Series) -> dict[str, HalvesTest | None]:
    """The test of the halves of each series: `stationarity` of a summary. None for a series that is too short."""
    result: dict[str, HalvesTest | None] = {}
    for name, values in series.items():
        tested = steady_state.halves(list(values.values()))
        result[name] = None if tested is None else HalvesTest(change=tested.change, p=tested.p, drifted=tested.drifted)
    return result


def _drifts(tests: Mapping[str, HalvesTest | None]) -> list[str]:
    warnings = []
    for name, test in tests.items():
        if test is not None and test.drifted:
            change = f"{abs(test.change):.0%} {'lower' if test.change < 0 else 'higher'}"
            where = "in the second half of the steady window than in the first"
            warnings.append(f"{SERIES[name]} was {change} {where}: the run was not steady.")
    return warnings


def steady_window(
    first_ns: float,
    last_ns: float,
    begin_ns: float,
    request_ns: float,
    over_time: SeriesOverTime,
    border: Callable[[float], int],
    open_loop: bool,
) -> Window | None:
    """The steady window of a run whose first and last sends are given.

    Returns None if it would be shorter than `request_ns`, the time of one request: few responses to requests sent
    inside would arrive inside. `begin_ns` is the end of ramp and warm-up, `over_time` the series of the run.
    `border(t)` is the first time from t on at which the token metrics can be cut, because all metrics share one window.
    """
    begin = max(first_ns, begin_ns)
    method, warnings = "after ramp and warm-up", []
    if (last_ns - first_ns) / NS_PER_S >= MSER_FROM_S:
        method = "MSER-5 after ramp and warm-up"
        step_ns, zero_ns = over_time.step_s * NS_PER_S, over_time.t_s[0] * NS_PER_S
        from_step = math.ceil((begin - zero_ns) / step_ns)
        until_step = math.floor((last_ns - zero_ns) / step_ns)
        series = _that_show(over_time, open_loop, from_step, until_step)
        cut_step, unsettled = _cut(series)
        if cut_step is not None:
            begin = zero_ns + cut_step * step_ns
        warnings += [
            f"{SERIES[name]} had not settled after half of the run: the window may hold a part of the start."
            for name in unsettled
        ]
    start = first_ns if begin <= first_ns else border(begin)
    long_enough = last_ns - start > request_ns
    return Window(int(start), int(last_ns), method, warnings) if long_enough else None


def describe_window(
    window: Window | None,
    e2el_ms: Sequence[float],
    over_time: SeriesOverTime,
    open_loop: bool,
    *,
    users: int | None = None,
    changes: bool = False,
) -> SteadyWindow:
    """`window` of a summary; `e2el_ms` are the latencies of the requests sent inside, in ascending order. `users`: the
    number of users, if the load defines it. `changes`: the load was planned to change."""
    if window is None:
        too_short = "none: after ramp and warm-up, all was sent within the time that one request takes"
        why = CHANGES if changes else too_short
        return SteadyWindow(start_s=None, end_s=None, method=why, rounds=None, stationarity=None, warnings=[])
    warnings = list(window.warnings)
    rounds = window.duration_s * 1000 / quantile(e2el_ms, 0.5) if e2el_ms and e2el_ms[-1] > 0 else None
    if rounds is not None and rounds < MIN_ROUNDS and not open_loop:
        cut_off = "The reply" if users == 1 else "Users in step are answered in waves, and the wave"
        warnings.append(
            f"The steady window is as long as {rounds:.1f} typical replies. {cut_off} that the end cuts "
            f"off can change the rates (requests/s, tokens/s) by up to {100 / max(rounds, 1):.0f}%: run longer."
        )
    step_ns, zero_ns = over_time.step_s * NS_PER_S, over_time.t_s[0] * NS_PER_S
    first, last = math.ceil((window.start_ns - zero_ns) / step_ns), math.floor((window.end_ns - zero_ns) / step_ns)
    tests = _halves(_that_show(over_time, open_loop, first, last))
    return SteadyWindow(
        start_s=window.start_ns / NS_PER_S,
        end_s=window.end_ns / NS_PER_S,
        method=window.method,
        rounds=rounds,
        stationarity=tests,
        warnings=warnings + _drifts(tests),
    )
