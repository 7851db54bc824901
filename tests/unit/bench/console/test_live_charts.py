"""The charts of a running task are those of its report: the same functions in the same order, and a script that fills
each line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import bench.console
from bench.console import live_charts
from bench.console.task import Task
from bench.documents import run_charts
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.rendered import run_numbers

SCRIPT = Path(bench.console.__file__).with_name("static").joinpath("live.js").read_text()
NINE = {"requests_per_s", "responses_per_s", "ttft", "tpot", "tps", "traffic", "response_time_intervals",
        "response_time_quantiles", "status_codes"}  # fmt: skip
"""The distributions of a report."""


def task(**settings: Any) -> Task:
    return Task(id="a", state="running", settings={"url": "http://h", **settings})


def filled() -> dict[str, str]:
    """The text of each chart's entry in the script."""
    start = SCRIPT.index("const VALUES = {")
    values = SCRIPT[start : SCRIPT.index("\n};", start)]
    return dict(re.findall(r"^  (\w+): (.*)$", values, re.MULTILINE))


def test_they_stand_in_the_order_of_the_report_and_none_of_the_nine_is_missing() -> None:
    keys = [chart.key for chart in live_charts.charts(task())]
    assert set(keys) >= NINE
    report = [chart.key for chart in run_charts.build(run_numbers(golden_summary(), golden_page_data()))]
    assert [key for key in report if key in keys] == [key for key in keys if key in report]


@pytest.mark.parametrize(
    "settings", [{}, {"rate": 5}, *({"endpoint": name} for name in ("embeddings", "rerank", "images", "http"))]
)
def test_the_script_has_a_value_for_each_line_of_each_chart(settings: dict[str, Any]) -> None:
    start = SCRIPT.index("const quantile = ")
    texts, quantiles = (
        filled(),
        set(re.findall(r"^  (\w+): ", SCRIPT[start : SCRIPT.index("});", start)], re.MULTILINE)),
    )
    for chart in live_charts.charts(task(**settings)):
        assert not chart.empty, f"{chart.key}: an empty chart has no SVG in the page"
        if not chart.over_time:
            assert re.search(rf"^    {chart.key}\(chart, numbers\)", SCRIPT, re.MULTILINE), chart.key
            continue
        text = texts[chart.key]
        known = set(re.findall(r'"([^"]+)": |\b(\w+): ', text.replace("{", "{ ")))
        names = {one or other for one, other in known} | (quantiles if "quantile(" in text else set())
        lines = {line.name for panel in chart.panels for line in panel.lines}
        assert lines <= names, f"{chart.key}: the script has no value for {lines - names}"


def test_the_limit_of_an_objective_is_a_line_in_the_chart_of_its_metric() -> None:
    slo = ["x<", "ttft:p99<1s", "e2el:p90<2s", "error_rate<1%"]
    charts = {chart.key: chart for chart in live_charts.charts(task(slo=slo))}
    assert [(line.name, line.values) for line in charts["ttft"].panels[0].lines[3:]] == [("ttft:p99<1s", [1000.0])]
    assert [line.name for line in charts["responses_per_s"].panels[1].lines[3:]] == ["e2el:p90<2s"]
    assert len(charts["tpot"].panels[0].lines) == 3
    assert [line.dashed for line in charts["ttft"].panels[0].lines] == [False, False, False, True]
    alone = {chart.key: chart for chart in live_charts.charts(task(slo="tpot:p50<20ms"))}
    assert [line.values for line in alone["tpot"].panels[0].lines[3:]] == [[20.0]]


def test_the_script_computes_the_quantiles_that_the_report_has() -> None:
    charts = {chart.key: chart for chart in live_charts.charts(task())}
    asked = (charts["response_time_quantiles"].recompute or {})["q"]
    assert asked == pytest.approx([*(percent / 100 for percent in range(1, 100)), 0.995, 0.999, 1.0])


def test_a_step_is_a_second_as_in_the_lines_of_a_running_load() -> None:
    charts = {chart.key: chart for chart in live_charts.charts(task())}
    assert charts["errors"].meaning == "Requests that failed in each second, by outcome."


def test_the_page_has_no_place_in_its_html() -> None:
    # The content security policy of the console forbids styles in HTML, so a script sets them.
    for view in live_charts.views(task()):
        assert view["x_ticks"] == ()
        assert all(panel["plot"].y_ticks == () for panel in view["panels"])


def test_a_period_has_the_metrics_of_the_report_and_of_inputs_only_the_whole_response() -> None:
    rows = {row[0] for row in live_charts.period(task())["metrics"]}
    assert rows == {"TTFT", "TPOT", "ITL", "E2EL", "TPS"}
    assert live_charts.period(task(endpoint="embeddings"))["metrics"] == [["E2EL", "ms", "e2el_ms"]]


def test_a_period_of_a_load_that_has_just_begun_is_one_second_in_which_nothing_happened() -> None:
    period = live_charts.period(task())
    assert {name: period[name] for name in ("start", "step", "end", "steps", "slice", "completed", "failed")} == {
        "start": 0, "step": 1, "end": 1, "steps": 1, "slice": 1, "completed": [0], "failed": [0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "planned"),
    [
        ({"rate": 5}, True),
        ({"mode": "trace"}, True),
        ({"mode": "rate"}, True),
        ({"concurrency": 5}, False),
        ({}, False),
    ],
)
def test_a_load_with_a_plan_shows_it_beside_what_is_sent(settings: dict[str, Any], planned: bool) -> None:
    charts = {chart.key: chart for chart in live_charts.charts(task(**settings))}
    names = [line.name for line in charts["requests_per_s"].panels[0].lines]
    assert names == (["planned", "sent"] if planned else ["sent"])
