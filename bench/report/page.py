"""What all pages share: the document around a template, the tiles at its top, and charts as the template needs them.

A page is one HTML file: no network, light and dark, readable on paper and without JavaScript. The templates escape
everything that came from outside (error messages, model names). The content policy forbids every request, and every
script except the one whose hash it names.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2

from bench.report import charts, formatting, plot

TABLE_ROWS = 300
"""Rows of the table under a chart; of longer series every k-th is shown, and the table says so."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A number to see first, with its 95% interval. Where a page computes it again for a period, `key` names it."""

    title: str
    value: str
    unit: str
    beside: str
    key: str = ""
    interval: str = ""


def document(template: str, **values: Any) -> str:
    """A page from a template of ours, with the style sheet and the script that all pages share."""
    script = _template_file("report.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FunctionLoader(_template_file))  # fmt: skip
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        css=_template_file("report.css"), script=script, script_hash=digest, **values
    )


def _template_file(name: str) -> str:
    return files("bench.report").joinpath("template", name).read_text(encoding="utf-8")


def chart_view(chart: charts.Chart) -> dict[str, Any]:
    """What the template needs of a chart: its drawn panels, the data for hovering, and the table."""
    panels = []
    for panel in chart.panels:
        drawn = plot.draw(chart, panel)
        legend = [line for line in panel.lines if not line.hidden and line.in_legend]
        panels.append({"unit": panel.unit, "plot": drawn, "legend": legend if len(legend) > 1 else ()})
    lines = [(panel, line) for panel in chart.panels for line in panel.lines]
    hover = {
        "x": [round(plot.x_place(chart, at), 3) for at in chart.x],
        "names": list(chart.x_names),
        "lines": [
            {
                "name": line.name,
                "unit": panel.unit if line.unit is None else line.unit,
                "tone": line.tone,
                "hidden": line.hidden,
                "values": [_write(panel, line, value) for value in line.values],
            }
            for panel, line in lines
        ],
    }
    every = -(-len(chart.x) // TABLE_ROWS)
    return {
        "key": chart.key,
        "title": chart.title,
        "meaning": chart.meaning,
        "x_title": chart.x_title,
        "x_ticks": plot.x_ticks(chart),
        "panels": panels,
        "hover": hover,
        "empty": chart.empty,
        "band": None if chart.band is None else chart.band_name,
        "every": every,
        "head": [_column_title(panel, line) for panel, line in lines],
        "rows": _table_rows(chart, [(panel, line) for panel, line in lines], max(every, 1)),
    }


def _write(panel: charts.Panel, line: charts.Line, value: float | None) -> str:
    return formatting.si(value) if panel.si and not line.hidden else formatting.number(value)


def _column_title(panel: charts.Panel, line: charts.Line) -> str:
    unit = panel.unit if line.unit is None else line.unit
    return f"{line.name} ({unit})" if unit else line.name


def _table_rows(
    chart: charts.Chart, lines: Sequence[tuple[charts.Panel, charts.Line]], every: int
) -> list[tuple[str, list[str]]]:
    return [
        (name, [_write(panel, line, line.values[position]) for panel, line in lines])
        for position, name in enumerate(chart.x_names)
        if position % every == 0
    ]
