"""A panel of a chart as inline SVG: only shapes, in a box of 10,000 by 1,000 that stretches to any size.

Strokes keep their width (`non-scaling-stroke`), and all text is HTML outside the SVG, so that a chart is readable at
any size, from a telephone to a wall. Colours are classes: the style sheet defines light and dark. Each line has its own
group, which the page's script can switch off; the script zooms only by changing the viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from bench.documents.charts import FEW, Chart, Line, Panel, round_step
from bench.documents.formatting import mark, si
from bench.report import heat_map

WIDTH, HEIGHT = 10_000, 1_000
_GRID_LINES = 4
_GLYPH, _SPACE, _EDGE = 2.8, 2.5, 106
"""In percent of the narrowest chart (240 px): the width of a digit under its axis, the least distance between two
texts, and where the card ends."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its position in percent from the left or the top, and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn panel: the SVG, the ticks of its y axis, and the values at its lower and upper edge."""

    svg: str
    y_ticks: tuple[Tick, ...]
    top: float
    bottom: float = 0.0


def x_place(chart: Chart, at: float) -> float:
    """A position on the x axis, in percent of the width."""
    first, last = chart.x_span
    return (at - first) / (last - first) * 100


def x_ticks(chart: Chart) -> tuple[Tick, ...]:
    """The ticks of the x axis: every k-th, with the smallest k at which no two texts touch."""
    places = ((min(x_place(chart, at), _EDGE - len(text) / 2 * _GLYPH), text) for at, text in chart.ticks)
    ticks = tuple(Tick(_short(at), text) for at, text in places)
    return next((ticks[::k] for k in range(1, len(ticks)) if _have_room(ticks[::k])), ticks[:1])


def _have_room(ticks: Sequence[Tick]) -> bool:
    return all((len(a.text) + len(b.text)) / 2 * _GLYPH + _SPACE <= abs(b.at - a.at) for a, b in pairwise(ticks))


def _x(chart: Chart, at: float) -> int:
    return round(x_place(chart, at) * WIDTH / 100)


def draw(chart: Chart, panel: Panel) -> Plot:
    """Draw one panel of a chart."""
    drawn = [line for line in panel.lines if not line.hidden]
    label = f"{chart.title}: {', '.join(line.name for line in drawn)} in {panel.unit}" if drawn else chart.title
    if panel.cells is not None:
        return _cells(chart, panel, label)
    if panel.rows is not None:
        top = max(panel.rows, 1)
        return Plot(_svg(chart, label, "".join(_groups(chart, panel, top))), (), top)
    axis = _axis(panel, [v for line in drawn for v in line.values if v is not None])
    grid = "".join(f'<path class="grid" d="M0 {axis.y(v)}H{WIDTH}"/>' for v in axis.marks)
    shapes = "".join(_groups(chart, panel, axis))
    largest = max(map(abs, axis.marks))
    ticks = tuple(Tick(_short(axis.share(v) * 100), si(v) if panel.si else mark(v, largest)) for v in axis.marks)
    return Plot(_svg(chart, label, grid + shapes), ticks, axis.top, axis.bottom)


def _groups(chart: Chart, panel: Panel, axis: _Axis | int) -> list[str]:
    """Each line as a group; for spans, the axis is the number of rows."""
    return [
        f'<g class="{line.tone}" data-line="{position}">'
        f"{_spans(chart, line, axis) if isinstance(axis, int) else _shape(chart, line, axis)}</g>"
        for position, line in enumerate(panel.lines)
        if not line.hidden
    ]


def _svg(chart: Chart, label: str, inside: str) -> str:
    windows = ""
    for name, window in (("before", chart.before), ("band", chart.band)):
        if window is not None:
            left, right = (_x(chart, edge) for edge in window)
            windows += f'<rect class="{name}" x="{left}" y="0" width="{right - left}" height="{HEIGHT}"/>'
    for at, title in chart.marks:
        windows += f'<path class="change" d="M{_x(chart, at)} 0V{HEIGHT}"><title>{escape(title)}</title></path>'
    text = escape(label, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{text}">'
        f"{windows}{inside}</svg>"
    )


def _cells(chart: Chart, panel: Panel, label: str) -> Plot:
    assert panel.cells is not None
    rows = len(panel.cells.columns[0]) if panel.cells.columns else 0
    image, top = "", max(rows, 1)
    if rows:
        image = (
            f'<image href="{heat_map.data_url(panel.cells)}" x="0" y="0" width="{WIDTH}" height="{HEIGHT}" '
            'preserveAspectRatio="none"/>'
        )
    ticks = tuple(Tick(_short(100 - at / top * 100), text) for at, text in panel.cells.marks)
    return Plot(_svg(chart, label, image), ticks, top)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A y axis: the values at its lower and upper edge, and the values of its marks."""

    bottom: float
    top: float
    marks: tuple[float, ...]

    def share(self, value: float) -> float:
        """The distance of a value from the upper edge, as a share of the height."""
        return 1 - (value - self.bottom) / (self.top - self.bottom)

    def y(self, value: float) -> int:
        """The same in the coordinates of the SVG."""
        return round(self.share(value) * HEIGHT)


def _axis(panel: Panel, values: list[float]) -> _Axis:
    """Round values at the edges, around everything drawn, including zero if the panel does."""
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
    points = [(_x(chart, at), axis.y(v)) for at, v in zip(chart.x, line.values, strict=True) if v is not None]
    if line.style == "points":
        large = " large" if len(points) <= 2 * FEW else ""
        return f'<path class="points{large}" d="{_dots(points)}"/>' if points else ""
    runs = _runs(chart, line, axis)
    if not runs:
        return ""
    dash = " dashed" if line.dashed else ""
    shape = f'<path class="stroke{dash}" d="{"".join(path for path, _ in runs)}"/>'
    if line.style == "area":
        shape = f'<path class="fill" d="{"".join(f"{path}V{HEIGHT}H{left}Z" for path, left in runs)}"/>{shape}'
    if chart.few and not line.dashed:
        shape += f'<path class="dots" d="{_dots(points)}"/>'
    return shape


def _dots(points: Sequence[tuple[int, int]]) -> str:
    """Lines of zero length, whose round caps are dots."""
    return "".join(f"M{x} {y}h0" for x, y in dict.fromkeys(points))


def _runs(chart: Chart, line: Line, axis: _Axis) -> list[tuple[str, int]]:
    """The path of each run of values without a gap, and where it begins."""
    half = chart.step / 2 if line.style in ("steps", "area") else 0
    runs: list[tuple[list[str], int]] = []
    at_x = at_y = level = 0
    joined = False
    for at, value in zip(chart.x, line.values, strict=True):
        if value is None:
            joined = joined and line.over_gaps
            continue
        left, right, y = _x(chart, at - half), _x(chart, at + half), axis.y(value)
        if not joined:
            runs.append(([f"M{left} {y}"], left))
            level = left
        elif not half:
            runs[-1][0].append(f"l{left - at_x}{'' if y < at_y else ' '}{y - at_y}")
        elif y != at_y:
            runs[-1][0].append(f"v{y - at_y}")
            level = at_x
        else:
            runs[-1][0].pop()  # One line for all steps of the same level: many charts are at zero for long.
        if half:
            runs[-1][0].append(f"h{right - level}")
        at_x, at_y, joined = right, y, True
    # A run of one point is a line of zero length, whose round cap makes it a dot.
    return [("".join(parts) + ("h0" if len(parts) == 1 else ""), left) for parts, left in runs]


def _spans(chart: Chart, line: Line, rows: int) -> str:
    parts = []
    for row, span in zip(line.values, line.spans or (), strict=True):
        if span is not None and row is not None:
            left, right = (_x(chart, edge) for edge in span)
            if right > left:
                parts.append(f"M{left} {round((row + 0.5) / rows * HEIGHT)}h{right - left}")
    return f'<path class="span" d="{"".join(parts)}"/>'


def _bars(chart: Chart, line: Line, axis: _Axis) -> str:
    shapes = []
    # At most a tenth of the width, so that a few bars do not fill a wide screen.
    width = round(min(0.7 * 100 / len(chart.x), 10) * WIDTH / 100) if chart.x else 0
    for position, (at, value) in enumerate(zip(chart.x, line.values, strict=True)):
        if value is not None:
            tone = "" if line.tones is None else f" {line.tones[position]}"
            y = axis.y(value)
            size = f'width="{width}" height="{HEIGHT - y}"'
            shapes.append(f'<rect class="bar{tone}" x="{_x(chart, at) - width // 2}" y="{y}" {size}/>')
    return "".join(shapes)
