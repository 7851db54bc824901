"""The charts of a run over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.documents import segments_table
from bench.documents.charts import NONE, Chart, Line, Panel, Tone, round_step
from bench.documents.formatting import number

if TYPE_CHECKING:
    from bench.metrics.page_data import PageData
    from bench.results.numbers import QuantilesOverTime
    from bench.results.series import Series
    from bench.results.summary import RunSummary


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """The data of a run's charts: its summary, and the data that only its page needs (None: unknown)."""

    summary: RunSummary
    page: PageData | None = None

    @property
    def series(self) -> Series:
        """The run over time, in at most 400 steps if the page data is known."""
        return (self.summary if self.page is None else self.page).series


def over_time(
    run: RunNumbers,
    key: str,
    title: str,
    meaning: str,
    panels: tuple[Panel, ...],
    *,
    wide: bool = False,
    none: str = NONE,
) -> Chart:
    """A chart with one value for each step of the series."""
    series = run.series
    first, last = span(run)
    step, times = series.step_s, series.t_s
    band, before = _windows(run, first, last)
    return Chart(
        key=key,
        title=title,
        meaning=meaning,
        x_title=TIME_AXIS,
        x=[at + step / 2 for at in times],
        x_span=(first, last),
        x_names=[f"{at:g}–{at + step:g} s" for at in times],
        ticks=time_ticks(first, last),
        step=step,
        panels=panels,
        band=band,
        before=before,
        marks=marks(run.summary),
        over_time=True,
        wide=wide,
        none=none,
    )


def marks(summary: RunSummary) -> tuple[tuple[float, str], ...]:
    """When the load changed in one step, and the new load."""
    unit = segments_table.unit(summary)
    steps = [(s.start_s, s.first) for s in summary.segments or () if s.first == s.last]
    return tuple((at, f"{number(load)} {unit} from {at:.1f} s on") for at, load in steps[1:])


TIME_AXIS = "seconds since the start of the run"


def span(run: RunNumbers) -> tuple[float, float]:
    """The start of the first step and the end of the last one."""
    step, times = run.series.step_s, run.series.t_s
    return (times[0], times[-1] + step) if times else (0, 1)


def time_ticks(first: float, last: float) -> tuple[tuple[float, str], ...]:
    """Round times along the axis."""
    every = max(round_step(last - first, 6), 1)
    return tuple((at, f"{at:g} s") for at in (first + k * every for k in range(math.floor((last - first) / every) + 1)))


def _windows(
    run: RunNumbers, first: float, last: float
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    window = run.summary.window
    start, end = window.start_s, window.end_s
    if start is None or end is None:
        return None, None
    start, end = max(start, first), min(end, last)
    return (start, end), (first, start) if start > first + 0.01 * (last - first) else None


def _rates(run: RunNumbers, amounts: Sequence[float]) -> list[float]:
    return [amount / run.series.step_s for amount in amounts]


def _quantile_lines(rows: QuantilesOverTime) -> tuple[Line, ...]:
    return (Line("median", rows.p50), Line("P90", rows.p90, tone="third"), Line("P99", rows.p99, tone="second"))


def requests_per_s(run: RunNumbers) -> Chart:
    """Sends over time; for an open loop also the plan."""
    lines = [Line("sent", _rates(run, run.series.sent), "steps")]
    if run.summary.load.plan is not None:
        lines.insert(0, Line("planned", _rates(run, run.series.planned), "steps", "quiet", dashed=True))
    meaning = "Requests sent in each second: the load on the server."
    return over_time(run, "requests_per_s", "Requests per second", meaning, (Panel("requests/s", tuple(lines)),))


def responses_per_s(run: RunNumbers) -> Chart:
    """Responses over time, and their latency."""
    answered = [
        Line("succeeded", _rates(run, run.series.completed), "steps", "good"),
        Line("failed", _rates(run, run.series.failed), "steps", "bad"),
    ]
    panels = (Panel("responses/s", tuple(answered)), Panel("E2EL, ms", _quantile_lines(run.series.e2el_ms)))
    meaning = "Responses that ended in each second, and their end-to-end latency."
    return over_time(run, "responses_per_s", "Responses per second and their times", meaning, panels)


def in_flight(run: RunNumbers) -> Chart:
    """Requests in flight over time."""
    lines = (Line("in flight", run.series.in_flight, "area"),)
    meaning = "Requests that were sent and had not ended, averaged over each second."
    return over_time(run, "in_flight", "Requests in flight", meaning, (Panel("requests", lines),))


def traffic(run: RunNumbers) -> Chart:
    """Bytes of bodies over time."""
    panels = (
        Panel("bytes in, B/s", (Line("in", _rates(run, run.series.bytes_in), "area", unit="B/s"),), si=True),
        Panel(
            "bytes out, B/s", (Line("out", _rates(run, run.series.bytes_out), "area", "second", unit="B/s"),), si=True
        ),
    )
    meaning = "Bytes of bodies per second: in from the server, out to the server."
    return over_time(run, "traffic", "Bytes in and out per second", meaning, panels)


def ttft(run: RunNumbers) -> Chart:
    """TTFT over time."""
    meaning = "Time to first token of the requests whose first token arrived in each second."
    return over_time(run, "ttft", "TTFT over time", meaning, (Panel("ms", _quantile_lines(run.series.ttft_ms)),))


def tpot(run: RunNumbers) -> Chart:
    """TPOT over time."""
    meaning = "Time per output token of the requests that ended in each second."
    return over_time(run, "tpot", "TPOT over time", meaning, (Panel("ms", _quantile_lines(run.series.tpot_ms)),))


def itl(run: RunNumbers) -> Chart | None:
    """ITL over time."""
    if run.page is None:
        return None
    meaning = "Inter-token latency of the tokens that arrived in each second, within 1% (from histograms)."
    return over_time(run, "itl", "ITL over time", meaning, (Panel("ms", _quantile_lines(run.page.itl_ms)),))


def tps(run: RunNumbers) -> Chart:
    """Output tokens of all requests over time."""
    lines = (
        Line("all requests", _rates(run, run.series.output_tokens), "area"),
        Line("one request, median", run.series.tps.p50, hidden=True),
    )
    meaning = "Output tokens that arrived in each second, over all requests."
    return over_time(run, "tps", "TPS over time", meaning, (Panel("tokens/s", lines),))


def inputs_per_s(run: RunNumbers) -> Chart | None:
    """Inputs and their tokens over time."""
    inputs = run.summary.inputs
    if inputs is None or not inputs.have_tokens or run.series.inputs is None:
        return None
    are, tokens = inputs.are, run.series.input_tokens
    of_inputs = Panel(f"{are}/s", (Line(are, _rates(run, run.series.inputs), "area"),))
    meaning = f"The {are} of the requests that ended in each second"
    if tokens is None:
        return over_time(run, "inputs_per_s", f"{are.capitalize()} per second", f"{meaning}.", (of_inputs,))
    of_tokens = Panel("input tokens/s", (Line("input tokens", _rates(run, tokens), "area", "second"),))
    title, meaning = f"{are.capitalize()} and input tokens per second", f"{meaning}, and their tokens."
    return over_time(run, "inputs_per_s", title, meaning, (of_inputs, of_tokens))


_ERROR_TONES: tuple[Tone, ...] = ("bad", "second", "main", "third", "warn", "quiet")


def errors(run: RunNumbers) -> Chart:
    """Failures over time, by how they ended: the most frequent ones one by one, the rest together."""
    rows = run.series.failed_by_outcome
    names = sorted(rows, key=lambda name: -sum(rows[name]))
    shown = names if len(names) <= len(_ERROR_TONES) else names[: len(_ERROR_TONES) - 1]
    series = [(name, rows[name]) for name in shown]
    if len(shown) < len(names):
        series.append(("others", [sum(each) for each in zip(*(rows[n] for n in names[len(shown) :]), strict=True)]))
    lines = tuple(Line(n, counts, "steps", tone) for (n, counts), tone in zip(series, _ERROR_TONES, strict=False))
    meaning = f"Requests that failed in each {'second' if run.series.step_s == 1 else 'step'}, by outcome."
    return over_time(run, "errors", "Errors over time", meaning, (Panel("requests", lines),), none="No request failed.")
