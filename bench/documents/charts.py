"""A chart as data: what is drawn, in which panel, against which axis. Nothing here knows how it is drawn.

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
    spans: Sequence[tuple[float, float] | None] | None = None
    """For spans: from where to where on the x axis; the values are rows."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A heat map: for each x a column of counts, the lowest row first; `marks` are (row border, text) along the y axis."""

    columns: Sequence[Sequence[int]]
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Series that share a y axis, which has zero on it unless `from_zero` is off."""

    unit: str
    lines: tuple[Line, ...]
    si: bool = False
    """Whether the axis takes prefixes (kB) rather than plain numbers."""
    from_zero: bool = True
    rows: int | None = None
    """Of spans: how many rows there are, the first on top. Such a panel has no y axis."""
    cells: Cells | None = None
    """A heat map, in place of drawn lines."""


NONE = "No request gave a value for this chart."


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
    before: tuple[float, float] | None = None
    """What of the run lies before it: ramp and warm-up."""
    marks: tuple[tuple[float, str], ...] = ()
    """Places on the x axis at which something happened, and what: the load was changed."""
    over_time: bool = False
    """Whether the x axis is the time of the run: such charts are zoomed together."""
    hover: Hover = "x"
    """How a pointer finds a value: by its x, the nearest point, or the row."""
    recompute: Mapping[str, object] | None = None
    """How the script of the page computes the values of a period: `template/recompute.js`."""
    wide: bool = False
    """Whether it takes the whole width of the page."""
    none: str = NONE
    """What to say where there is nothing to draw."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(v is not None for panel in self.panels for line in panel.lines for v in line.values)

    @property
    def few(self) -> bool:
        """Whether there are so few values that each is drawn as a point."""
        return len(self.x) <= FEW


def round_step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten that divides a span into at most `most` parts."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in (1, 2, 5, 10) if span / (step * power) <= most * (1 + 1e-9))


def round_values(low: float, high: float, most: int) -> list[float]:
    """Round values for a logarithmic axis: 1, 2, 5 where it spans octaves, else evenly spaced."""
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
        recompute=recompute,
    )
