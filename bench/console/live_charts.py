"""The charts of a running task's page: the charts of its report, from the same functions and in the same order.

They start empty. `static/live.js` fills them from live.jsonl, matching each line of a chart by name. The scripts in
`bench/report/template/` draw, zoom and compute the metrics of a period, here as in the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from bench.console.language import Phrase
from bench.console.task import Task, endpoint_of
from bench.documents import run_charts
from bench.documents.charts import Chart, Line
from bench.documents.period_data import ROWS
from bench.documents.time_charts import RunNumbers
from bench.endpoints import ENDPOINTS
from bench.errors import UsageError
from bench.metrics.objectives import Objective, parse
from bench.metrics.page_data import PageData
from bench.metrics.series import RESPONSE_QUANTILES
from bench.metrics.step_histograms import BORDERS, PER_OCTAVE
from bench.report.page import ChartView, chart_view
from bench.results.numbers import QuantilesOverTime
from bench.results.series import Series, TimeInterval, TimeQuantile
from bench.results.summary import RunSummary

LIVE = frozenset(
    {"requests_per_s", "responses_per_s", "inputs_per_s", "in_flight", "ttft", "tpot", "itl", "tps", "errors", "traffic",
     "server_requests", "server_memory", "response_time_intervals", "response_time_quantiles", "status_codes"}
)  # fmt: skip
"""The charts that need only the data of live.jsonl."""

_PANEL_OF = {"ttft": ("ttft", 0), "tpot": ("tpot", 0), "itl": ("itl", 0), "e2el": ("responses_per_s", 1)}
"""The chart and the panel that show the metric of an objective, in ms like its limit."""


def charts(task: Task) -> list[Chart]:
    """The task's charts, without values, with a limit line for each latency objective."""
    numbers = _without_values(task)
    makers = run_charts.OF_INPUTS if task.of_inputs else run_charts.CHARTS
    selected = [chart for key, make in makers.items() if key in LIVE and (chart := make(numbers)) is not None]
    objectives = list(_objectives(task))
    return [_with_limits(chart, objectives) for chart in selected]


def views(task: Task) -> list[ChartView]:
    """The charts as values of the report's chart template, but without ticks. Ticks need inline positions, which the
    page's content security policy forbids in HTML; they come with the values."""
    chart_views = [chart_view(_in_phrases(chart)) for chart in charts(task)]
    for view in chart_views:
        view["x_ticks"] = ()
        view["panels"] = [{**panel, "plot": replace(panel["plot"], y_ticks=())} for panel in view["panels"]]
        lines = [(panel, line) for panel in view["chart"].panels for line in panel.lines]
        view["head"] = [Phrase("%(name)s (%(unit)s)", {"name": line.name, "unit": panel.unit}) for panel, line in lines]
    return chart_views


def _in_phrases(chart: Chart) -> Chart:
    """The chart with texts that the page translates."""
    panels = (
        replace(
            panel, unit=Phrase(panel.unit), lines=tuple(replace(line, name=Phrase(line.name)) for line in panel.lines)
        )
        for panel in chart.panels
    )
    title, meaning, x_title = Phrase(chart.title), Phrase(chart.meaning), Phrase(chart.x_title)
    return replace(chart, panels=tuple(panels), title=title, meaning=meaning, x_title=x_title)


def texts(charts: Iterable[Chart]) -> Iterator[str]:
    """Every text of the charts, which a catalog must contain."""
    for chart in charts:
        yield from (chart.title, chart.meaning, chart.x_title)
        for panel in chart.panels:
            yield panel.unit
            for line in panel.lines:
                yield from (line.name, line.unit or "")


def period(task: Task) -> dict[str, Any]:
    """The data of the scripts of a period (`bench/documents/period_data.py`) for a load that has just begun."""
    metrics = [list(row) for row in ROWS if not task.of_inputs or row[0] == "E2EL"]
    return {
        "start": 0, "step": 1, "steps": 1, "end": 1, "slice": 1, "steady": None, "perOctave": PER_OCTAVE,
        "borders": list(BORDERS), "histograms": {}, "metrics": metrics, "completed": [0], "failed": [0], "rates": {},
        "status": {},
    }  # fmt: skip


def _objectives(task: Task) -> Iterator[Objective]:
    slo = task.settings.get("slo") or ()
    for text in [slo] if isinstance(slo, str) else slo:
        try:
            yield from parse([str(text)])
        except UsageError:
            continue


def _with_limits(chart: Chart, objectives: list[Objective]) -> Chart:
    panels = list(chart.panels)
    for objective in objectives:
        key, number = _PANEL_OF.get(objective.metric, ("", 0))
        if key == chart.key:
            limit = Line(objective.text, [objective.limit], tone="warn", dashed=True)
            panels[number] = replace(panels[number], lines=(*panels[number].lines, limit))
    return replace(chart, panels=tuple(panels))


def _without_values(task: Task) -> RunNumbers:
    """A run of one step without events, with only those parts of a summary that the charts read."""
    nothing, no_latency = [0], QuantilesOverTime(mean=[0], p50=[0], p90=[0], p99=[0])
    series = Series(
        step_s=1, t_s=[0], end_s=1, planned=nothing, sent=nothing, completed=nothing, failed=nothing,
        failed_by_outcome={"failed": nothing}, in_flight=nothing, ttft_ms=no_latency, tpot_ms=no_latency,
        e2el_ms=no_latency, tps=no_latency, output_tokens=nothing, inputs=nothing, input_tokens=nothing,
        bytes_in=nothing, bytes_out=nothing, status={"200": nothing},
    )  # fmt: skip
    settings = task.settings
    is_open = bool(settings.get("rate")) or settings.get("mode") in ("rate", "trace")
    api = ENDPOINTS.get(endpoint_of(settings))
    summary = SimpleNamespace(
        series=series,
        window=SimpleNamespace(start_s=None, end_s=None),
        segments=(),
        load=SimpleNamespace(plan=() if is_open else None, mode="rate"),  # Only decides the unit of segments.
        inputs=None
        if api is None or api.inputs_are is None
        else SimpleNamespace(are=api.inputs_are, have_tokens=api.counts_tokens),
        distributions=SimpleNamespace(
            response_time_intervals=[TimeInterval(from_ms=0, to_ms=None, n=0, share=0)],
            response_time_quantiles=[TimeQuantile(q=q / 100, ms=0) for q in RESPONSE_QUANTILES],
            status_codes={"200": 1},
        ),
    )
    page = SimpleNamespace(
        series=series, itl_ms=no_latency, histograms={}, server={"running": [0], "waiting": [0], "kv_cache_used": [0]}
    )
    return RunNumbers(cast("RunSummary", summary), cast("PageData", page))
