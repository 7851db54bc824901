"""A chart as data: lines, panels and axes. Drawing it is the renderer's task.

The charts of a run are in `run_charts.py`; certificates, sweeps and searches have their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

FEW = 30

Values = Sequence[float | None]
Style = Literal["line", "steps", "area", "bars", "points", "spans"]
Tone = Literal["main", "second", "third", "quiet", "good", "warn", "bad"]
Hover = Literal["x", "points", "rows"]


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel: a value for each x of the chart. `hidden` series appear only in tooltips and tables."""

    name: str
    values: Values
    style: Style = "line"
    tone: Tone = "main"
    dashed: bool = False
    hidden: bool = False
    tones: tuple[Tone, ...] | None = None
    """For bars: one tone per bar."""
    unit: str | None = None
    """None: the panel's unit."""
    in_legend: bool = True
    over_gaps: bool = False
    """Whether the line continues over missing values, where only another series has one."""
    spans: Sequence[tuple[float, float] | None] | None = None
    """For spans: start and end on the x axis; the values are rows."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A heat map: for each x a column of counts, the lowest row first; `marks` are (row border, text) along the y axis."""

    columns: Sequence[Sequence[int]]
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Series that share a y axis, which includes zero unless `from_zero` is off."""

    unit: str
    lines: tuple[Line, ...]
    si: bool = False
    """Whether the axis uses SI prefixes (kB) rather than plain numbers."""
    from_zero: bool = True
    rows: int | None = None
    """For spans: the number of rows, the first on top. Such a panel has no y axis."""
    cells: Cells | None = None
    """A heat map, instead of lines."""


NONE = "No request gave a value for this chart."


@dataclass(frozen=True, slots=True)
class Chart:
    """One or more panels above a shared x axis.

    `x` are positions, `x_span` the first and last position of the axis, `x_names` the name of each x, `ticks`
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
    """A stretch of the x axis to shade: the steady window, in a chart over time."""
    band_name: str = "the steady window"
    before: tuple[float, float] | None = None
    """The stretch before it: ramp and warm-up."""
    marks: tuple[tuple[float, str], ...] = ()
    """Events on the x axis (position, text): changes of the load."""
    over_time: bool = False
    """Whether the x axis is the time of the run: such charts zoom together."""
    hover: Hover = "x"
    """How the pointer selects a value: by its x, the nearest point, or the row."""
    recompute: Mapping[str, object] | None = None
    """How the page's script computes the values of a period: `template/recompute.js`."""
    wide: bool = False
    """Whether it takes the full width of the page."""
    none: str = NONE
    """The text if there is nothing to draw."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(v is not None for panel in self.panels for line in panel.lines for v in line.values)

    @property
    def few(self) -> bool:
        """Whether there are so few values that each is drawn as a point."""
        return len(self.x) <= FEW


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides a span into at most `most` parts."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in (1, 2, 5, 10) if span / (step * power) <= most * (1 + 1e-9))


def round_values(low: float, high: float, most: int) -> list[float]:
    """Round values for a logarithmic axis: 1, 2, 5 if it spans more than three octaves, else evenly spaced."""
    if high > 8 * low:
        decades = range(math.floor(math.log10(max(low, 1e-9))), math.ceil(math.log10(high)) + 1)
        values = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        values = [value for value in values if low <= value <= high]
        return values[:: math.ceil(len(values) / most)]
    step = round_step(high - low, most)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def categories(
    key: str,
    title: str,
    meaning: str,
    x_title: str,
    names: Sequence[str],
    tips: Sequence[str],
    panel: Panel,
    recompute: Mapping[str, object] | None = None,
) -> Chart:
    """A chart with one bar per name. If there are many, only every k-th name is written under its bar."""
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
        recompute=recompute,
    )
