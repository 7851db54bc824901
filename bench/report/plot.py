"""A panel of a chart as inline SVG: shapes only, in a box of 1000 by 100 that stretches to any size.

Strokes keep their width (`non-scaling-stroke`), and all text stands outside as HTML, so that a chart is as readable on
a telephone as on a wall. Colours are classes: the style sheet knows light and dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from bench.report.charts import Chart, Line, Panel, round_step
from bench.report.formatting import number, si

WIDTH, HEIGHT = 1000, 100
_GRID_LINES = 4


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its place in percent from the left or the top, and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn panel: the SVG, and the ticks of its y axis."""

    svg: str
    y_ticks: tuple[Tick, ...]
    top: float
    """The value at the upper edge."""


def x_place(chart: Chart, at: float) -> float:
    """A position on the x axis, in percent of the width."""
    first, last = chart.x_span
    return (at - first) / (last - first) * 100


def x_ticks(chart: Chart) -> tuple[Tick, ...]:
    """The ticks of the x axis."""
    return tuple(Tick(_short(x_place(chart, at)), text) for at, text in chart.ticks)


def draw(chart: Chart, panel: Panel) -> Plot:
    """Draw one panel of a chart."""
    drawn = [line for line in panel.lines if not line.hidden]
    axis = _axis(panel, [v for line in drawn for v in line.values if v is not None])
    grid = "".join(f'<path class="grid" d="M0 {axis.y(v)}H{WIDTH}"/>' for v in axis.marks)
    band = ""
    if chart.band is not None:
        left, right = (x_place(chart, edge) * WIDTH / 100 for edge in chart.band)
        band = f'<rect class="band" x="{_short(left)}" y="0" width="{_short(right - left)}" height="{HEIGHT}"/>'
    shapes = "".join(_shape(chart, line, axis) for line in drawn)
    label = escape(f"{chart.title}: {', '.join(line.name for line in drawn)} in {panel.unit}", quote=True)
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"<title>{label}</title>{band}{grid}{shapes}</svg>"
    )
    write = si if panel.si else number
    return Plot(svg, tuple(Tick(axis.y(v), write(v)) for v in axis.marks), axis.top)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A y axis: the values at its lower and upper edge, and where it has marks."""

    bottom: float
    top: float
    marks: tuple[float, ...]

    def y(self, value: float) -> float:
        """The place of a value, counted down from the upper edge."""
        return _short(HEIGHT - (value - self.bottom) / (self.top - self.bottom) * HEIGHT)


def _axis(panel: Panel, values: list[float]) -> _Axis:
    """Round values at the edges, around all that is drawn, and zero where the panel has it."""
    if panel.from_zero:
        values = [*values, 0.0]
    low, high = min(values, default=0.0), max(values, default=0.0)
    step = round_step(high - low, _GRID_LINES) if high > low else 1.0
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return _Axis(first * step, last * step, tuple(k * step for k in range(first, last + 1)))


def _short(value: float) -> float:
    return round(value, 2)


def _shape(chart: Chart, line: Line, axis: _Axis) -> str:
    if line.style == "bars":
        return _bars(chart, line, axis)
    half = chart.step / 2 if line.style in ("steps", "area") else 0
    runs: list[list[str]] = []
    edges: list[tuple[float, float]] = []
    joined = False
    for at, value in zip(chart.x, line.values, strict=True):
        if value is None:
            joined = joined and line.over_gaps
            continue
        left, right = (_short(x_place(chart, x) * WIDTH / 100) for x in (at - half, at + half))
        y = axis.y(value)
        if not joined:
            runs.append([])
            edges.append((left, right))
        edges[-1] = (edges[-1][0], right)
        runs[-1].append(f"{'L' if joined else 'M'}{left} {y}" + (f"H{right}" if half else ""))
        joined = line.style != "points"
    # A run of one point is a line of no length: its round cap makes it a dot.
    paths = ["".join(run) + ("h0" if len(run) == 1 and not half else "") for run in runs]
    dash = " dashed" if line.dashed else " dots" if line.style == "points" else ""
    shape = f'<path class="stroke {line.tone}{dash}" d="{"".join(paths)}"/>'
    if line.style == "area":
        closed = (f"{p}V{HEIGHT}H{left}Z" for p, (left, _) in zip(paths, edges, strict=True))
        shape = f'<path class="fill {line.tone}" d="{"".join(closed)}"/>' + shape
    return shape if paths else ""


def _bars(chart: Chart, line: Line, axis: _Axis) -> str:
    shapes = []
    # At most a tenth of the width: two bars need not fill a wall.
    width = min(0.7 * 100 / len(chart.x), 10) * WIDTH / 100 if chart.x else 0
    for position, (at, value) in enumerate(zip(chart.x, line.values, strict=True)):
        if value is not None:
            tone = line.tone if line.tones is None else line.tones[position]
            y = axis.y(value)
            left = _short(x_place(chart, at) * WIDTH / 100 - width / 2)
            size = f'width="{_short(width)}" height="{_short(HEIGHT - y)}"'
            shapes.append(f'<rect class="bar {tone}" x="{left}" y="{y}" {size}/>')
    return "".join(shapes)
