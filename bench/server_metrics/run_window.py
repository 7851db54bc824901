"""The stretch of a run that the numbers of its server and its GPUs cover."""

from __future__ import annotations

from dataclasses import dataclass

from bench.clock import NS_PER_S
from bench.results.numbers import Throughput
from bench.results.summary import SummaryNumbers


@dataclass(frozen=True, slots=True)
class RunWindow:
    """Its ends: in seconds of the summary's times, and in ns of CLOCK_MONOTONIC. `rates`: the client's, within it."""

    start_s: float
    end_s: float
    steady: bool
    begin_ns: int
    end_ns: int
    rates: Throughput

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


def window_of(summary: SummaryNumbers, start_ns: int) -> RunWindow:
    """The steady window of a summary; the whole run if it has none, which is empty if the run ended in its warm-up."""
    window, whole_s, steady = summary.window, summary.throughput.duration_s, summary.steady
    first, last = window.start_s, window.end_s
    inside = first is not None
    if first is None or last is None:
        first, last = 0.0, 0.0 if whole_s is None else whole_s
    return RunWindow(
        start_s=first,
        end_s=last,
        steady=inside,
        begin_ns=start_ns + round(first * NS_PER_S),
        end_ns=start_ns + round(last * NS_PER_S),
        rates=summary.throughput if steady is None else steady.throughput,
    )
