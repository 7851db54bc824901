"""Panels drawn by hand: a box of 10,000 by 1,000 for x from 0 to 4, so that a step is 2,500 wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.documents.charts import FEW, Cells, Chart, Line, Panel
from bench.report import page, plot
from bench.report.plot import Tick

VALUES = (1.0, 3.0, None, 2.0)
"""The axis ends at 3: a value of 1 is two thirds down, at 667."""
DOTS = '<path class="dots" d="M1250 667h0M3750 0h0M8750 333h0"/>'
STEPS = "M0 667h2500v-667h2500"


def chart_of(*lines: Line, panel: dict[str, Any] | None = None, **fields: Any) -> Chart:
    usual: dict[str, Any] = {
        "key": "k", "title": "Ti<tle", "meaning": "m", "x_title": "s", "x": [0.5, 1.5, 2.5, 3.5], "x_span": (0.0, 4.0),
        "x_names": ["a", "b", "c", "d"], "ticks": ((1.0, "one"), (4.0, "four")), "step": 1.0,
        "panels": (Panel("ms", lines, **(panel or {})),),
    }  # fmt: skip
    return Chart(**usual | fields)


def drawn(chart: Chart) -> plot.Plot:
    return plot.draw(chart, chart.panels[0])


def shape(chart: Chart) -> str:
    """The content of the first line's group."""
    return drawn(chart).svg.partition('data-line="0">')[2].partition("</g>")[0]


@pytest.mark.parametrize(
    ("line", "svg"),
    [
        ({"style": "line"}, f'<path class="stroke" d="M1250 667l2500-667M8750 333h0"/>{DOTS}'),
        ({"style": "line", "dashed": True}, '<path class="stroke dashed" d="M1250 667l2500-667M8750 333h0"/>'),
        ({"style": "line", "over_gaps": True}, f'<path class="stroke" d="M1250 667l2500-667l5000 333"/>{DOTS}'),
        ({"style": "line", "over_gaps": True, "values": (None, None, 3.0, 2.0)},
         '<path class="stroke" d="M6250 0l2500 333"/><path class="dots" d="M6250 0h0M8750 333h0"/>'),
        ({"style": "line", "values": (3.0, 3.0, 3.0, None)},
         '<path class="stroke" d="M1250 0l2500 0l2500 0"/><path class="dots" d="M1250 0h0M3750 0h0M6250 0h0"/>'),
        ({"style": "steps"}, f'<path class="stroke" d="{STEPS}M7500 333h2500"/>{DOTS}'),
        ({"style": "steps", "over_gaps": True}, f'<path class="stroke" d="{STEPS}v333h5000"/>{DOTS}'),
        ({"style": "steps", "values": (3.0, 3.0, 1.0, None)},
         '<path class="stroke" d="M0 0h5000v667h2500"/><path class="dots" d="M1250 0h0M3750 0h0M6250 667h0"/>'),
        ({"style": "area"}, f'<path class="fill" d="{STEPS}V1000H0ZM7500 333h2500V1000H7500Z"/>'
                            f'<path class="stroke" d="{STEPS}M7500 333h2500"/>{DOTS}'),
        ({"style": "points"}, '<path class="points large" d="M1250 667h0M3750 0h0M8750 333h0"/>'),
        ({"style": "points", "values": [None] * 4}, ""),
        ({"style": "line", "values": [None] * 4}, ""),
        ({"style": "bars", "tones": ("good", "bad", "warn", "bad")},
         '<rect class="bar good" x="750" y="667" width="1000" height="333"/>'
         '<rect class="bar bad" x="3250" y="0" width="1000" height="1000"/>'
         '<rect class="bar bad" x="8250" y="333" width="1000" height="667"/>'),
        ({"style": "bars", "values": (3.0, None, None, None)},
         '<rect class="bar" x="750" y="0" width="1000" height="1000"/>'),
    ],
)  # fmt: skip
def test_a_line_is_drawn_through_its_values(line: dict[str, Any], svg: str) -> None:
    values = {"name": "l", "values": VALUES} | line
    assert shape(chart_of(Line(**values), Line("top", [3.0] * 4, hidden=False))) == svg


def test_bars_take_seven_tenths_of_their_place() -> None:
    chart = chart_of(Line("l", [1.0] * 20, style="bars"), x=[*range(20)], x_span=(0.0, 20.0), x_names=[""] * 20)
    assert shape(chart).startswith(
        '<rect class="bar" x="-175" y="0" width="350" height="1000"/><rect class="bar" x="325" '
    )


@pytest.mark.parametrize(("count", "dots"), [(FEW, True), (FEW + 1, False)])
def test_few_values_have_dots(count: int, dots: bool) -> None:
    line = Line("l", [1.0] * count)
    assert ("dots" in shape(chart_of(line, x=[*range(count)], x_span=(0, count), x_names=[""] * count))) is dots


def test_a_panel_has_its_windows_its_marks_and_its_ticks() -> None:
    line, hidden = Line("l", VALUES), Line("h", [9.0] * 4, hidden=True)
    chart = chart_of(hidden, line, before=(0.0, 1.0), band=(1.0, 3.0), marks=((2.0, "<b>"),))
    found = drawn(chart)
    assert found.svg == (
        '<svg viewBox="0 0 10000 1000" preserveAspectRatio="none" role="img" aria-label="Ti&lt;tle: l in ms">'
        '<rect class="before" x="0" y="0" width="2500" height="1000"/>'
        '<rect class="band" x="2500" y="0" width="5000" height="1000"/>'
        '<path class="change" d="M5000 0V1000"><title>&lt;b&gt;</title></path>'
        + "".join(f'<path class="grid" d="M0 {y}H10000"/>' for y in (1000, 667, 333, 0))
        + f'<g class="main" data-line="1"><path class="stroke" d="M1250 667l2500-667M8750 333h0"/>{DOTS}</g></svg>'
    )
    assert (found.top, found.bottom) == (3.0, 0.0)
    assert found.y_ticks == (Tick(100.0, "0"), Tick(66.67, "1"), Tick(33.33, "2"), Tick(0.0, "3"))
    assert plot.x_ticks(chart) == (Tick(25.0, "one"), Tick(100.0, "four"))
    long = chart_of(line, ticks=tuple((at / 4, f"{at},000,000") for at in range(17)))
    assert [tick.text for tick in plot.x_ticks(long)] == ["0,000,000", "6,000,000", "12,000,000"]
    at_end = chart_of(line, ticks=((4.0, "1,000,000"),))  # The text ends at the edge of the card.
    assert plot.x_ticks(at_end) == (Tick(93.4, "1,000,000"),)
    assert 'aria-label="Ti&lt;tle"' in drawn(chart_of(hidden)).svg


@pytest.mark.parametrize(
    ("value", "fields", "ticks"),
    [
        (1500.0, {"si": True}, ["0", "500", "1 k", "1.5 k"]),
        (3e5, {}, ["0", "100,000", "200,000", "300,000"]),
        (3e6, {}, ["0", "1 M", "2 M", "3 M"]),
        (1.5e-6, {}, ["0", "500 n", "1 µ", "1.5 µ"]),
        (0.1 + 0.2, {}, ["0", "0.1", "0.2", "0.3"]),
    ],
)
def test_an_axis_ends_at_its_highest_value_if_that_is_round(
    value: float, fields: dict[str, Any], ticks: list[str]
) -> None:
    assert [tick.text for tick in drawn(chart_of(Line("l", [value] * 4), panel=fields)).y_ticks] == ticks


def test_spans_are_rows_and_one_too_short_to_see_is_left_out() -> None:
    spans: Sequence[tuple[float, float] | None] = [(0.0, 1.0), (1.0, 2.0), None, (1.0, 1.0001)]
    found = drawn(chart_of(Line("l", [0.0, None, 1.0, 1.0], "spans", spans=spans), panel={"rows": 2}))
    assert found.svg.endswith('<g class="main" data-line="0"><path class="span" d="M0 250h2500"/></g></svg>')
    assert (found.y_ticks, found.top) == ((), 2)
    assert drawn(chart_of(panel={"rows": 0})).top == 1


def test_a_heat_map_has_its_marks_at_the_borders_of_rows() -> None:
    marks = ((0.0, "0"), (1.0, "1"), (2.0, "2"))
    found = drawn(chart_of(panel={"cells": Cells([[0, 4], [16, 0]], marks)}))
    assert found.y_ticks == (Tick(100.0, "0"), Tick(50.0, "1"), Tick(0.0, "2"))
    assert 'x="0" y="0" width="10000" height="1000" preserveAspectRatio="none"/></svg>' in found.svg
    none: list[list[list[int]]] = [[], [[]]]
    for columns in none:  # An image cannot have a height of 0.
        assert "<image" not in drawn(chart_of(panel={"cells": Cells(columns, marks)})).svg


# ---- What the template and the script get from a chart -----------------------------------------------------------------


def test_the_table_under_a_chart_has_sixteen_rows_at_most_and_names_of_units() -> None:
    def view(count: int) -> page.ChartView:
        lines = Line("l", [1234.5] * count), Line("h", [1234.5] * count, hidden=True, unit="")
        names = [str(k) for k in range(count)]
        return page.chart_view(chart_of(*lines, x=[*range(count)], x_span=(0, 33), x_names=names, panel={"si": True}))

    assert [(view(n)["every"], len(view(n)["rows"])) for n in (0, 1, 16, 17, 32, 33)] == [
        (1, 0), (1, 1), (1, 16), (2, 9), (2, 16), (3, 11)
    ]  # fmt: skip
    assert [name for name, _ in view(33)["rows"]] == [str(k) for k in range(0, 33, 3)]
    assert view(1)["head"] == ["l (ms)", "h"]
    assert view(1)["rows"] == [("0", ["1.23 k", "1,234"])]
    rows = page.chart_view(chart_of(Line("s", [0.0] * 4, "spans", spans=[None] * 4), panel={"rows": 1}))
    assert rows["head"] == []


def test_the_script_gets_numbers_as_short_as_a_page_shows_them() -> None:
    x = [0.5, 1.5, 2.5, 3.5]
    values = (0.123456, 999.96, 12_345.6, None)
    chart = chart_of(Line("l", values), Line("x", x), x=x, recompute={"how": 1})
    data = page.chart_view(chart)["data"]
    (panel,) = data.pop("panels")
    assert data == {
        "title": "Ti<tle", "xTitle": "s", "time": False, "hover": "x", "span": [0.0, 4.0], "x": [0.5, 1.5, 2.5, 3.5],
        "names": ["a", "b", "c", "d"], "recompute": {"how": 1},
    }  # fmt: skip
    assert [line["values"] for line in panel.pop("lines")] == [[0.1235, 1000, 12_346, None], "x"]
    assert panel == {
        "unit": "ms", "si": False, "zero": True, "top": 15_000.0, "bottom": 0.0, "rows": None, "cells": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "x", "named"),
    [
        ({"over_time": True}, {"from": 0.5, "step": 1.0}, False),
        ({"over_time": True, "x": [], "x_names": []}, {"from": 0, "step": 1.0}, False),
        ({"over_time": True, "step": 0.0}, [0.5, 1.5, 2.5, 3.5], True),
        ({"over_time": False}, [0.5, 1.5, 2.5, 3.5], True),
    ],
)
def test_steps_of_a_run_are_placed_by_their_number(fields: dict[str, Any], x: object, named: bool) -> None:
    data = page.chart_view(chart_of(**fields))["data"]
    assert (data["x"], data["names"] is not None) == (x, named)
