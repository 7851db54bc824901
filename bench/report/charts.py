"""The nine distributions of a report, as data: what is drawn, in which panel, against which axis.

A new chart is a function from a summary to a Chart and a line in CHARTS. Nothing here knows how it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Values = Sequence[float | None]
Style = Literal["line", "steps", "area", "bars", "points"]
Tone = Literal["main", "second", "quiet", "good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel: a value for each x of the chart. `hidden` series stand in tips and tables only."""

    name: str
    values: Values
    style: Style = "line"
    tone: Tone = "main"
    dashed: bool = False
    hidden: bool = False
    tones: tuple[Tone, ...] | None = None
    """For bars: one tone per bar."""
    unit: str | None = None
    """None: that of the panel."""
    in_legend: bool = True
    over_gaps: bool = False
    """Whether the line goes on over a missing value, where another series alone has one."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Series that share a y axis, which has zero on it unless `from_zero` is off."""

    unit: str
    lines: tuple[Line, ...]
    si: bool = False
    """Whether the axis takes prefixes (kB) rather than plain numbers."""
    from_zero: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """One or more panels above a shared x axis.

    `x` are positions, `x_span` the first and last position of the axis, `x_names` what each x is called, `ticks`
    (position, text) along the axis. In a chart over time each x is the middle of a step, `step` steps wide.
    """

    key: str
    title: str
    meaning: str
    x_title: str
    x: Sequence[float]
    x_span: tuple[float, float]
    x_names: Sequence[str]
    ticks: tuple[tuple[float, str], ...]
    step: float
    panels: tuple[Panel, ...]
    band: tuple[float, float] | None = None
    """A stretch of the x axis to shade: the steady window, on a chart over time."""
    band_name: str = "the steady window"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(v is not None for panel in self.panels for line in panel.lines for v in line.values)


def build(summary: Mapping[str, Any]) -> tuple[Chart, ...]:
    """All charts of a summary, in the order of the report."""
    return tuple(chart(summary) for chart in CHARTS.values())


def round_step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten that divides a span into at most `most` parts."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in (1, 2, 5, 10) if span / (step * power) <= most * (1 + 1e-9))


def _over_time(summary: Mapping[str, Any], key: str, title: str, meaning: str, panels: tuple[Panel, ...]) -> Chart:
    series = summary["series"]
    step, times = series["step_s"], series["t_s"]
    first, last = (times[0], times[-1] + step) if times else (0, 1)
    every = max(round_step(last - first, 6), 1)
    ticks = [first + k * every for k in range(math.floor((last - first) / every) + 1)]
    window = summary["window"]
    return Chart(
        key=key,
        title=title,
        meaning=meaning,
        x_title="seconds since the start of the run",
        x=[at + step / 2 for at in times],
        x_span=(first, last),
        x_names=[f"{at:g}–{at + step:g} s" for at in times],
        ticks=tuple((at, f"{at:g} s") for at in ticks),
        step=step,
        panels=panels,
        band=None if window["start_s"] is None else (max(window["start_s"], first), min(window["end_s"], last)),
    )


def _rates(summary: Mapping[str, Any], name: str) -> list[float]:
    series = summary["series"]
    return [amount / series["step_s"] for amount in series[name]]


def _quantile_lines(summary: Mapping[str, Any], name: str) -> tuple[Line, ...]:
    rows = summary["series"][name]
    return (
        Line("median", rows["p50"]),
        Line("P99", rows["p99"], tone="second"),
        Line("average", rows["mean"], hidden=True),
    )


def requests_per_s(summary: Mapping[str, Any]) -> Chart:
    """Sends over time; for an open loop also the plan."""
    lines = [Line("sent", _rates(summary, "sent"), "steps")]
    if summary["load"]["plan"] is not None:
        lines.insert(0, Line("planned", _rates(summary, "planned"), "steps", "quiet", dashed=True))
    lines.append(Line("in flight", summary["series"]["in_flight"], hidden=True, unit=""))
    meaning = "Requests sent in each second: the load on the server."
    return _over_time(summary, "requests_per_s", "Requests per second", meaning, (Panel("requests/s", tuple(lines)),))


def responses_per_s(summary: Mapping[str, Any]) -> Chart:
    """Responses over time, and their latency."""
    answered = [
        Line("succeeded", _rates(summary, "completed"), "steps", "good"),
        Line("failed", _rates(summary, "failed"), "steps", "bad"),
    ]
    panels = (Panel("responses/s", tuple(answered)), Panel("ms", _quantile_lines(summary, "e2el_ms")))
    meaning = "Responses that ended in each second, and their end-to-end latency."
    return _over_time(summary, "responses_per_s", "Responses per second and their times", meaning, panels)


def traffic(summary: Mapping[str, Any]) -> Chart:
    """Bytes of bodies over time."""
    panels = (
        Panel("B/s", (Line("in", _rates(summary, "bytes_in"), "area"),), si=True),
        Panel("B/s", (Line("out", _rates(summary, "bytes_out"), "area", "second"),), si=True),
    )
    meaning = "Bytes of bodies per second: in from the server, out to the server."
    return _over_time(summary, "traffic", "Bytes in and out per second", meaning, panels)


def categories(
    key: str, title: str, meaning: str, x_title: str, names: Sequence[str], tips: Sequence[str], panel: Panel
) -> Chart:
    """A chart with one bar per name. Of many names, only every k-th stands under its bar."""
    every = math.ceil(len(names) / 8)
    return Chart(
        key=key,
        title=title,
        meaning=meaning,
        x_title=x_title,
        x=[position + 0.5 for position in range(len(names))],
        x_span=(0, max(len(names), 1)),
        x_names=tips,
        ticks=tuple((position + 0.5, name) for position, name in enumerate(names) if position % every == 0),
        step=1,
        panels=(panel,),
    )


def response_time_intervals(summary: Mapping[str, Any]) -> Chart:
    """The distribution of the response times."""
    rows = summary["distributions"]["response_time_intervals"]
    tips = [
        f"{row['from_ms']:,.6g} ms and more"
        if row["to_ms"] is None
        else f"{row['from_ms']:,.6g}–{row['to_ms']:,.6g} ms"
        for row in rows
    ]
    names = [f"{row['from_ms']:,.6g}" + ("+" if row["to_ms"] is None else "") for row in rows]
    lines = (
        Line("share", [row["share"] * 100 for row in rows], "bars"),
        Line("responses", [row["n"] for row in rows], hidden=True, unit=""),
    )
    meaning = "Share of the responses whose end-to-end latency lies in each interval."
    title = "Response times by interval"
    return categories("response_time_intervals", title, meaning, "ms, from", names, tips, Panel("%", lines))


_TAIL_TICKS = ((0.0, "0"), (0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (1.0, "max"))
_END_OF_TAIL = 0.9998


def response_time_quantiles(summary: Mapping[str, Any]) -> Chart:
    """Response time against the share of requests at least as fast; each nine has the same width."""
    rows = summary["distributions"]["response_time_quantiles"]

    def place(q: float) -> float:
        return -math.log10(1 - min(q, _END_OF_TAIL))

    return Chart(
        key="response_time_quantiles",
        title="Quantiles of the response time",
        meaning="The longest time that each share of the responses took. The axis stretches the slow tail.",
        x_title="share of the responses",
        x=[place(row["q"]) for row in rows],
        x_span=(0, place(1)),
        x_names=["slowest" if row["q"] == 1 else f"{row['q'] * 100:g}% took at most" for row in rows],
        ticks=tuple((place(q), name) for q, name in _TAIL_TICKS),
        step=0,
        panels=(Panel("ms", (Line("response time", [row["ms"] for row in rows]),)),),
    )


def status_codes(summary: Mapping[str, Any]) -> Chart:
    """Answers by HTTP status."""
    rows = summary["distributions"]["status_codes"]
    total = sum(rows.values())
    tones: dict[str, Tone] = {"2": "good", "3": "warn", "4": "warn", "5": "bad"}
    lines = (
        Line("requests", list(rows.values()), "bars", tones=tuple(tones.get(code[0], "quiet") for code in rows)),
        Line("share", [count / total * 100 for count in rows.values()], hidden=True, unit="%"),
    )
    tips = ["no response" if code == "none" else f"HTTP {code}" for code in rows]
    names = ["none" if code == "none" else code for code in rows]
    meaning = "Requests by the HTTP status of their response; “none” never got one. An error can still hide in a 200."
    return categories("status_codes", "Status codes", meaning, "status", names, tips, Panel("requests", lines))


def ttft(summary: Mapping[str, Any]) -> Chart:
    """TTFT over time."""
    meaning = "Time to first token of the requests whose first token arrived in each second."
    return _over_time(summary, "ttft", "TTFT over time", meaning, (Panel("ms", _quantile_lines(summary, "ttft_ms")),))


def tpot(summary: Mapping[str, Any]) -> Chart:
    """TPOT over time."""
    meaning = "Time per output token of the requests that ended in each second."
    return _over_time(summary, "tpot", "TPOT over time", meaning, (Panel("ms", _quantile_lines(summary, "tpot_ms")),))


def tps(summary: Mapping[str, Any]) -> Chart:
    """Output tokens of all requests over time."""
    own = summary["series"]["tps"]["p50"]
    lines = (
        Line("all requests", _rates(summary, "output_tokens"), "area"),
        Line("one request, median", own, hidden=True),
    )
    meaning = "Output tokens that arrived in each second, over all requests."
    return _over_time(summary, "tps", "TPS over time", meaning, (Panel("tokens/s", lines),))


CHARTS: dict[str, Callable[[Mapping[str, Any]], Chart]] = {
    "requests_per_s": requests_per_s,
    "responses_per_s": responses_per_s,
    "ttft": ttft,
    "tpot": tpot,
    "tps": tps,
    "response_time_intervals": response_time_intervals,
    "response_time_quantiles": response_time_quantiles,
    "status_codes": status_codes,
    "traffic": traffic,
}
"""Every chart of a report, in the order in which it shows them."""
