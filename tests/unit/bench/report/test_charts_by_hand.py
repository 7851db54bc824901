"""Charts of single requests, the server, replicas and scaling, and their axes: the position of each value, computed by
hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import (
    certificate_charts,
    replica_charts,
    request_charts,
    scaling_section,
    server_charts,
    time_charts,
)  # fmt: skip
from bench.documents.charts import Cells, Chart, Line, Panel
from bench.documents.document import (
    ChartBlock,
    DrawnInterval,
    Table,
)
from bench.documents.time_charts import RunNumbers
from bench.metrics.page_data import PageData
from bench.report import page, plot
from bench.results.certificate import TrueAndMeasured
from bench.results.scaling import Scaling
from bench.results.summary import RunSummary
from tests.support.results import filled

SERIES: dict[str, Any] = {"step_s": 2.0, "t_s": [0.0, 2.0, 4.0]}
INPUTS: dict[str, Any] = {"are": "texts", "per_request": {"min": 1, "max": 3}}


def request(index: int, **fields: Any) -> dict[str, Any]:
    """A request that was sent 0.5 s late and took 2 s, half of it until the first token."""
    at = float(index)
    times = {"intended_s": at, "sent_s": at + 0.5, "first_s": at + 1.5, "end_s": at + 2.5}
    return {"index": index, "outcome": "ok", **times, "ttft_ms": 1000.0, "e2el_ms": 2000.0, **fields}


def run(
    sample: list[dict[str, Any]] | None = None,
    slowest: list[dict[str, Any]] | None = None,
    inputs: dict[str, Any] | None = None,
    page: dict[str, Any] | None = None,
    **of_run: Any,
) -> RunNumbers:
    counts = {"succeeded": 3, "sent": 3}
    summary = filled(RunSummary, {"counts": counts, "inputs": inputs, "window": {"start_s": None}, **of_run})
    requests = {"slowest": slowest or [], "sample": sample or [], "failed": [], "failures": 0}
    return RunNumbers(summary, filled(PageData, series=SERIES, requests=requests, **(page or {})))


def alone(of_run: RunNumbers) -> RunNumbers:
    """The summary without its page data."""
    return RunNumbers(of_run.summary)


def values(chart: Chart | None, panel: int = 0) -> dict[str, list[float | None]]:
    assert chart is not None
    return {line.name: [*line.values] for line in chart.panels[panel].lines if line.style != "spans"}


def spans(chart: Chart | None) -> dict[str, list[Any]]:
    assert chart is not None
    return {line.name: [*(line.spans or ())] for line in chart.panels[0].lines if line.style == "spans"}


SIZED = [
    request(0, input_tokens=300, output_tokens=30, output_tokens_asked=32, inputs=3),
    request(2, input_tokens=100, output_tokens=10, output_tokens_asked=10, inputs=1, ttft_ms=400.0),
    request(1, input_tokens=200, output_tokens=20, output_tokens_asked=20, inputs=2, outcome="timeout"),
    request(3, input_tokens=None, output_tokens=None, ttft_ms=None),
]


def test_each_successful_request_is_a_point_in_the_order_of_its_size() -> None:
    chart = request_charts.ttft_by_prompt(run(SIZED, SIZED[:1]))
    assert chart is not None
    assert (chart.x, chart.x_names) == ([100.0, 300.0], ["#2", "#0"])
    assert values(chart) == {"TTFT": [400.0, 1000.0], "prompt tokens": [100.0, 300.0]}
    assert chart.x_span == (92.0, 308.0)
    assert chart.ticks == ((100, "100"), (150, "150"), (200, "200"), (250, "250"), (300, "300"))
    assert chart.meaning.endswith(" 2 of 3: the slowest, and an even sample.")
    assert request_charts.ttft_by_prompt(alone(run(SIZED))) is None


def test_all_requests_are_said_to_be_shown_where_they_are() -> None:
    chart = request_charts.e2el_by_output(run(SIZED, counts={"succeeded": 2, "sent": 4}))
    assert chart is not None
    assert chart.meaning.endswith(" All of them.")
    assert values(chart) == {"E2EL": [2000.0, 2000.0], "output tokens": [10.0, 30.0]}


@pytest.mark.parametrize(
    ("sizes", "span", "ticks"),
    [
        ([], (0.0, 1.04), ["0", "0.5", "1"]),
        ([0], (0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([8, 8], (4.0, 12.0), ["4", "6", "8", "10", "12"]),
        ([1, 1001], (0.0, 1041.0), ["0", "500", "1,000"]),
    ],
)
def test_an_axis_has_room_also_for_requests_of_one_size(
    sizes: list[int], span: tuple[float, float], ticks: list[str]
) -> None:
    chart = request_charts.ttft_by_prompt(run([request(n, input_tokens=size) for n, size in enumerate(sizes)]))
    assert chart is not None
    assert chart.x_span == pytest.approx(span)
    assert [text for _, text in chart.ticks] == ticks


def test_tokens_that_came_are_held_against_those_that_were_asked_for() -> None:
    chart = request_charts.tokens_asked(run(SIZED))
    assert values(chart) == {"received": [10, 30], "tokens asked for": [10, 32], "as asked": [10, 32]}


def test_requests_without_generated_text_have_their_inputs() -> None:
    chart = request_charts.e2el_by_inputs(run(SIZED, inputs=INPUTS))
    assert chart is not None
    assert values(chart) == {"E2EL": [2000.0, 2000.0], "texts a request": [1, 3]}
    assert chart.title == "E2EL against texts a request"
    assert request_charts.e2el_by_inputs(run(SIZED, inputs={**INPUTS, "per_request": {"min": 2, "max": 2}})) is None
    assert request_charts.e2el_by_inputs(run(SIZED)) is None
    tokens = request_charts.e2el_by_input_tokens(run(SIZED, inputs=INPUTS))
    assert values(tokens)["input tokens"] == [100, 300]
    assert request_charts.e2el_by_input_tokens(run(SIZED, inputs={**INPUTS, "are": "requests"})) is None


SENT = [*SIZED[:3], request(4, first_s=None, ttft_ms=None, outcome="reset"), request(5, sent_s=None)]


def test_a_timeline_has_what_each_request_waited_for() -> None:
    chart = request_charts.timeline(run(SENT, SENT[3:4]))
    assert chart is not None
    assert (chart.x, chart.x_span) == ([0.5, 1.5, 2.5, 4.5], (0.0, 6.0))
    assert chart.x_names == ["#0", "#1, timeout", "#2", "#4, reset"]
    assert chart.panels[0].rows == 4
    assert spans(chart) == {
        "streaming": [(1.5, 2.5), (2.5, 3.5), (3.5, 4.5), None],
        "waiting for the first token": [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5), (4.5, 6.5)],
        "queued": [(0.0, 0.5), (1.0, 1.5), (2.0, 2.5), (4.0, 4.5)],
    }
    assert values(chart) == {
        "queued": [500.0] * 4, "TTFT": [1000.0, 1000.0, 400.0, None], "E2EL": [2000.0] * 4,
        "prompt tokens": [300, 200, 100, None], "output tokens": [30, 20, 10, None],
    }  # fmt: skip
    assert chart.meaning.endswith(" All requests.")
    some = request_charts.timeline(run(SENT, counts={"succeeded": 3, "sent": 5}))
    assert some is not None
    assert some.meaning.endswith(" 4 requests: the slowest, and an even sample.")
    assert request_charts.timeline(alone(run(SENT))) is None


@pytest.mark.parametrize(("are", "sizes"), [("texts", {"input tokens", "inputs"}), ("requests", set())])
def test_a_timeline_without_generated_text_has_no_tokens_of_it(are: str, sizes: set[str]) -> None:
    chart = request_charts.timeline(run(SENT, inputs={**INPUTS, "are": are}))
    assert spans(chart).keys() == {"waiting for the reply", "queued"}
    assert values(chart).keys() == {"queued", "E2EL"} | sizes


@pytest.mark.parametrize(("sample", "shown"), [(100, 100), (101, 51), (200, 100), (201, 67)])
def test_a_timeline_shows_an_even_sample_of_a_hundred_at_most(sample: int, shown: int) -> None:
    chart = request_charts.timeline(run([request(n) for n in range(sample)]))
    assert chart is not None
    every = -(-sample // 100)
    assert chart.x_names == [f"#{n}" for n in range(0, sample, every)]
    assert len(chart.x) == shown


def test_a_hundred_of_the_slowest_requests_are_points() -> None:
    chart = request_charts.ttft_by_prompt(run([], [request(n, input_tokens=n) for n in range(120)]))
    assert chart is not None
    assert chart.x_names == [f"#{n}" for n in range(100)]


def test_steps_lie_in_the_middle_of_themselves_and_the_window_inside_the_run() -> None:
    chart = time_charts.over_time(run(), "k", "t", "m", ())
    assert (chart.x, chart.x_span, chart.step, chart.band) == ([1.0, 3.0, 5.0], (0.0, 6.0), 2.0, None)
    assert chart.x_names == ["0–2 s", "2–4 s", "4–6 s"]
    assert chart.ticks == tuple((float(second), f"{second} s") for second in range(7))
    windows = {}
    for start, end in ((1.0, 5.0), (-1.0, 9.0), (0.05, 6.0), (0.07, 6.0), (None, 5.0)):
        chart = time_charts.over_time(run(window={"start_s": start, "end_s": end}), "k", "t", "m", ())
        windows[start] = (chart.band, chart.before)
    assert windows == {
        1.0: ((1.0, 5.0), (0.0, 1.0)),
        -1.0: ((0.0, 6.0), None),
        0.05: ((0.05, 6.0), None),  # Less than 1% of the run would not be visible.
        0.07: ((0.07, 6.0), (0.0, 0.07)),
        None: (None, None),
    }


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (0.0, 1.0, ["0 s", "1 s"]),
        (0.0, 30.0, ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]),
        (0.0, 0.5, ["0 s"]),
    ],
)
def test_times_on_an_axis_are_whole_seconds(first: float, last: float, ticks: list[str]) -> None:
    assert [text for _, text in time_charts.time_ticks(first, last)] == ticks


SEGMENTS = [
    {"start_s": 0.0, "first": 2, "last": 2}, {"start_s": 5.0, "first": 2, "last": 8},
    {"start_s": 10.25, "first": 8, "last": 8},
]  # fmt: skip


@pytest.mark.parametrize(("mode", "unit"), [("rate", "requests/s"), ("concurrency", "users")])
def test_a_step_of_the_load_is_marked_and_a_ramp_and_the_start_are_not(mode: str, unit: str) -> None:
    summary = run(segments=SEGMENTS, load={"mode": mode}).summary
    assert time_charts.marks(summary) == ((10.25, f"8 {unit} from 10.2 s on"),)


def test_a_plan_is_drawn_where_there_is_one() -> None:
    amounts = {"sent": [2, 4, 6], "planned": [4, 4, 4]}
    page = {"series": {**SERIES, **amounts}}
    plans: tuple[dict[str, Any] | None, ...] = ({}, None)
    open_loop, closed = (run(load={"plan": plan}) for plan in plans)
    for of, said in ((open_loop, {"planned": [2, 2, 2], "sent": [1, 2, 3]}), (closed, {"sent": [1, 2, 3]})):
        chart = time_charts.requests_per_s(RunNumbers(of.summary, filled(PageData, page)))
        assert values(chart) == said


SERVER = {
    "running": [1.0, 2.0, None], "waiting": [0.0, 0.0, 4.0], "kv_cache_used": [0.5, None, 1.0],
    "prefix_hit_rate": [0.25, 0.25, None],
    "prefix_hits_per_s": [5.0, None, 1.0], "prefix_queries_per_s": [10.0, 10.0, 0.0],
    "prompt_tokens_per_s": [100.0, 200.0, None], "generation_tokens_per_s": [10.0, 20.0, None],
}  # fmt: skip


def served(*names: str, inputs: dict[str, Any] | None = None) -> RunNumbers:
    return run(inputs=inputs, page={"server": {name: SERVER[name] for name in names}})


def test_charts_of_the_server_have_the_series_that_it_has() -> None:
    assert values(server_charts.requests(served("waiting"))) == {"waiting": [0, 0, 4]}
    assert [*values(server_charts.requests(served("waiting", "running")))] == ["running", "waiting"]
    assert values(server_charts.memory(served(*SERVER))) == {
        "KV cache used": [50.0, None, 100.0], "prompt tokens from it": [50.0, None, None],
    }  # fmt: skip
    assert values(server_charts.memory(served("prefix_hit_rate", "prefix_hits_per_s"))) == {
        "prompt tokens from it": [25.0, 25.0, None]
    }
    tokens = server_charts.tokens(served(*SERVER))
    assert (values(tokens, 0), values(tokens, 1)) == (
        {"prompt tokens": [100, 200, None]}, {"output tokens": [10, 20, None]},
    )  # fmt: skip
    taken = server_charts.tokens(served(*SERVER, inputs=INPUTS))
    assert taken is not None
    assert (len(taken.panels), taken.meaning) == (1, "Tokens that the server took in in each second, by its metrics.")
    for chart in (server_charts.requests, server_charts.memory, server_charts.tokens, server_charts.gpu):
        assert chart(served()) is None
        assert chart(alone(served(*SERVER))) is None
    assert server_charts.tokens(served("generation_tokens_per_s", inputs=INPUTS)) is None


def test_charts_of_a_gpu_are_in_watts_percent_and_degrees() -> None:
    gpu = {"gpu_power_w": [300.0], "gpu_utilisation": [0.5], "gpu_temperature_c": [60.0]}
    chart = server_charts.gpu(run(page={"gpu": gpu}))
    assert chart is not None
    assert [(panel.unit, *values(chart, n).items()) for n, panel in enumerate(chart.panels)] == [
        ("W", ("power", [300])), ("%", ("utilisation", [50])), ("°C", ("temperature", [60])),
    ]  # fmt: skip
    for name, series in gpu.items():
        one = server_charts.gpu(run(page={"gpu": {name: series}}))
        assert one is not None
        assert len(one.panels) == 1


def test_metrics_that_were_asked_for_have_a_chart_each() -> None:
    named = [{"name": "a_total", "rising": True, "values": [1.0]}, {"name": "b", "rising": False, "values": [2.0]}]
    rising, level = server_charts.named(run(page={"server_named": named}))
    assert (rising.key, rising.panels[0].unit, level.key, level.panels[0].unit) == (
        "server_a_total",
        "per second",
        "server_b",
        "",
    )
    assert rising.meaning.startswith("How much it rose")
    assert not level.meaning.startswith("How much it rose")
    assert server_charts.named(alone(run())) == []


PARTS = [
    {"name": "a", "sent": 4, "failed": 1,
     "latency": {"ttft_ms": {"n": 3, "p50": 1.0, "p99": 2.0}, "e2el_ms": {"n": 3, "p50": 8.0}}},
    {"name": "b", "sent": 5, "failed": 0,
     "latency": {"ttft_ms": {"n": 1234, "p50": 3.0, "p99": 4.0}, "e2el_ms": {"n": 5, "p50": 9.0}}},
]  # fmt: skip


def test_replicas_are_beside_each_other() -> None:
    parts = run(per_target=PARTS)
    latency = replica_charts.latency(parts)
    assert latency is not None
    assert values(latency) == {"median": [1.0, 3.0], "P99": [2.0, 4.0]}
    assert latency.x_names == ["a: 3 requests", "b: 1,234 requests"]
    assert values(replica_charts.requests(parts)) == {"sent": [4, 5], "failed": [1, 0]}
    assert values(replica_charts.latency(run(per_target=PARTS, inputs=INPUTS)))["median"] == [8.0, 9.0]
    for chart in (replica_charts.latency, replica_charts.requests):
        assert chart(run(per_target=None)) is None


LOST: dict[str, Any] = {
    "start_s": 7.5, "end_s": 9.0, "lost": 12, "refused": 5, "slow": 4, "failed": 3, "refusals": {"503": 3, "timeout": 2},
    "not_ready_s": 8.0, "ready_s": 8.25,
}  # fmt: skip
ENDLESS: dict[str, Any] = {
    "start_s": 12.0, "end_s": None, "lost": 1, "refused": 0, "slow": 0, "failed": 1, "refusals": {},
}  # fmt: skip


def test_times_that_were_lost_stand_between_the_steps_of_the_load() -> None:
    scaling = {"limits": ["ttft:p90<1s"], "times": [ENDLESS, LOST], "lost": 1234, "lost_s": 2.5, "t_s": []}
    summary = run(segments=SEGMENTS, scaling=filled(Scaling, scaling)).summary
    (section,) = scaling_section.section(summary)
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert [[str(getattr(cell, "text", cell)) for cell in row.cells] for row in table.rows] == [
        ["7.500 s", "9.000 s", "1.500 s", "12", "5 (503: 3, timeout: 2)", "4", "3", "8.000 s", "8.250 s"],
        ["8 users from 10.2 s on", *[""] * 8],
        ["12.000 s", "–", "–", "1", "0", "0", "1", "–", "–"],
    ]
    assert table.notes[0] == "In all 1,234 requests and 2.50 s were lost."
    assert table.notes[1].startswith("Slow: misses ttft:p90<1s. ")
    assert [*scaling_section.section(run(scaling=None).summary)] == []


def test_a_run_over_several_addresses_names_whose_time_was_lost_and_draws_each_second() -> None:
    seconds = {"t_s": [3, 4], "good": [5, 0], "slow": [0, 1], "refused": [0, 2], "failed": [0, 3]}
    scaling = {"limits": [], "times": [{**LOST, "target": "a"}], "lost": 1, "lost_s": 1, **seconds}
    (section,) = scaling_section.section(run(scaling=filled(Scaling, scaling)).summary)
    table, drawn = section.blocks
    assert isinstance(table, Table)
    assert isinstance(drawn, ChartBlock)
    assert len(table.columns) == len(table.rows[0].cells) == 10
    assert table.notes[1].startswith("Without --slo no answer is slow. ")
    chart = drawn.chart
    assert (chart.x, chart.x_span, chart.x_names) == ([3.5, 4.5], (3, 5), ["3–4 s", "4–5 s"])
    assert values(chart) == {"good": [5, 0], "slow": [0, 1], "refused": [0, 2], "failed": [0, 3]}


def test_an_interval_on_an_axis_is_placed_in_percent_and_never_too_narrow_to_see() -> None:
    drawn = DrawnInterval(low=-0.1, middle=0.0, high=0.1, margin=0.05, reach=0.3)
    assert [drawn.place(value) for value in (-0.3, -0.1, 0.0, 0.1, 0.9)] == [0.0, 33.33, 50.0, 66.67, 100.0]
    assert (drawn.wide(-0.1, 0.1), drawn.wide(0.0, 0.001)) == (33.34, 0.6)


def test_a_heat_map_without_rows_still_has_an_axis() -> None:
    def drawn(*columns: tuple[int, ...]) -> plot.Plot:
        cells = Cells(columns, ((0.0, "0"), (1.0, "1")))
        chart = Chart("k", "t", "m", "x", [0.0], (0.0, 1.0), ["a"], (), 1, (Panel("u", (), cells=cells),))
        return plot.draw(chart, chart.panels[0])

    assert [drawn(*columns).top for columns in ((), ((),), ((1,),), ((1, 0, 2),))] == [1, 1, 1, 3]


def test_a_legend_has_the_drawn_lines_that_may_be_in_it() -> None:
    def legend(*lines: Line) -> list[str]:
        chart = Chart("k", "t", "m", "x", [0.0], (0.0, 1.0), ["a"], (), 1, (Panel("u", lines),))
        (panel,) = page.chart_view(chart)["panels"]
        return [line.name for _, line in panel["legend"]]

    plain, other = Line("a", [1.0]), Line("b", [1.0])
    assert legend(plain, other) == ["a", "b"]
    assert legend(plain, other, Line("c", [1.0], hidden=True), Line("d", [1.0], in_legend=False)) == ["a", "b"]
    assert legend(plain, Line("d", [1.0], in_legend=False)) == []


@pytest.mark.parametrize(
    ("span_s", "ticks"), [(3, "0 1 2 3"), (6, "0 1 2 3 4 5 6"), (7, "0 2 4 6"), (60, "0 10 20 30 40 50 60")]
)
def test_an_axis_of_time_has_whole_seconds_and_at_most_six_parts(span_s: float, ticks: str) -> None:
    assert " ".join(name.removesuffix(" s") for _, name in time_charts.time_ticks(0, span_s)) == ticks


def test_an_axis_of_true_and_measured_times_has_at_most_four_parts() -> None:
    chart = certificate_charts._qq(filled(TrueAndMeasured, true=[0.0, 24.0], measured=[0.0, 24.0]), "ttft_ms", "TTFT")
    assert [name for _, name in chart.ticks] == ["10", "20"]
