"""A template with the style sheet and the script of all pages, and charts in the form that the template needs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, TypedDict

import jinja2

from bench.documents import charts, formatting
from bench.report import plot
from bench.report.compiled_templates import KeptTemplates

TABLE_ROWS = 16
"""Rows of the table under a chart. A longer series shows every k-th, and the page's script adds the others."""

STYLES = ("report.css", "chart.css", "paper.css")
"""The console also has charts, and uses the second."""

SCRIPTS = ("words.js", "chart.js", "period.js", "recompute.js", "save.js", "page.js")


def page(**values: object) -> str:
    """A page from its template, with the style sheet and the script that all pages share."""
    script = "".join(map(_script, SCRIPTS))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FunctionLoader(_template_file),
                                     bytecode_cache=KeptTemplates())  # fmt: skip
    environment.globals["tr"] = _in_english
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return environment.get_template("document.html.j2").render(
        css="".join(map(_template_file, STYLES)), script=script, script_hash=digest, **values
    )


def _in_english(message: str, **values: object) -> str:
    """The translation function of the templates: reports use the messages themselves, the console a catalog."""
    return message % values if values else message


def _script(name: str) -> str:
    """A script without indentation and comments, which would be a tenth of a small page."""
    lines = (line.strip() for line in _template_file(name).splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _template_file(name: str) -> str:
    return files("bench.report").joinpath("template", name).read_text(encoding="utf-8")


class PanelView(TypedDict):
    """A drawn panel, and the lines in its legend with their positions."""

    unit: str
    plot: plot.Plot
    legend: Sequence[tuple[int, charts.Line]]


class ChartView(TypedDict):
    """A chart for the template: its drawn panels, the data for the script, and the table."""

    chart: charts.Chart
    x_ticks: Sequence[plot.Tick]
    panels: list[PanelView]
    data: dict[str, Any]
    every: int
    head: list[str]
    rows: list[tuple[str, list[str]]]


def chart_view(chart: charts.Chart) -> ChartView:
    """A chart for the template."""
    plots = [plot.draw(chart, panel) for panel in chart.panels]
    panels: list[PanelView] = []
    for panel, drawn in zip(chart.panels, plots, strict=True):
        legend = [(position, line) for position, line in enumerate(panel.lines) if not line.hidden and line.in_legend]
        panels.append({"unit": panel.unit, "plot": drawn, "legend": legend if len(legend) > 1 else ()})
    columns = [(panel, line) for panel in chart.panels for line in panel.lines if line.style != "spans"]
    every = max(-(-len(chart.x) // TABLE_ROWS), 1)
    return {
        "chart": chart,
        "x_ticks": plot.x_ticks(chart),
        "panels": panels,
        "data": _data(chart, plots),
        "every": every,
        "head": [_column_title(panel, line) for panel, line in columns],
        "rows": [
            (name, [_write(panel, line, line.values[position]) for panel, line in columns])
            for position, name in enumerate(chart.x_names)
            if position % every == 0
        ],
    }


def _data(chart: charts.Chart, plots: Sequence[plot.Plot]) -> dict[str, Any]:
    """A chart for the script: values as numbers, which it formats like `formatting`."""
    steps = chart.over_time and chart.step > 0
    return {
        "title": chart.title,
        "xTitle": chart.x_title,
        "time": chart.over_time,
        "hover": chart.hover,
        "span": list(chart.x_span),
        # The steps of a run have positions and names that follow from their numbers.
        "x": {"from": chart.x[0] if chart.x else 0, "step": chart.step} if steps else [_short(at) for at in chart.x],
        "names": None if steps else list(chart.x_names),
        "recompute": chart.recompute,
        "panels": [
            {
                "unit": panel.unit,
                "si": panel.si,
                "zero": panel.from_zero,
                "top": drawn.top,
                "bottom": drawn.bottom,
                "rows": panel.rows,
                "cells": panel.cells is not None,
                "lines": [
                    {
                        "name": line.name,
                        "unit": panel.unit if line.unit is None else line.unit,
                        "tone": line.tone,
                        "style": line.style,
                        "tones": line.tones,
                        "hidden": line.hidden,
                        "values": _values(chart, line),
                    }
                    for line in panel.lines
                ],
            }
            for panel, drawn in zip(chart.panels, plots, strict=True)
        ],
    }


def _values(chart: charts.Chart, line: charts.Line) -> list[float | None] | str | None:
    """None: only drawn; "x": the values of the x axis."""
    if line.style == "spans":
        return None
    return "x" if line.values is chart.x else [_short(value) for value in line.values]


def _short(value: float | None) -> float | None:
    """As many digits as a page shows: four, and all before the point."""
    if value is None:
        return None
    short = float(f"{value:.4g}") if abs(value) < 1e4 else round(value)
    return int(short) if short == int(short) else short


def _write(panel: charts.Panel, line: charts.Line, value: float | None) -> str:
    return formatting.si(value) if panel.si and not line.hidden else formatting.number(value)


def _column_title(panel: charts.Panel, line: charts.Line) -> str:
    unit = panel.unit if line.unit is None else line.unit
    return f"{line.name} ({unit})" if unit else line.name
