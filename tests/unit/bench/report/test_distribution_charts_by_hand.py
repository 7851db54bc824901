"""The charts of distributions from histograms and rows made by hand: each bar, border and mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench.clock import NS_PER_MS
from bench.documents import distribution_charts, period_data
from bench.documents.charts import Chart
from bench.documents.formatting import number
from bench.documents.time_charts import RunNumbers
from bench.metrics.page_data import PageData
from bench.metrics.step_histograms import PER_OCTAVE, lower_border
from bench.results.summary import RunSummary
from tests.support.results import filled


def bin_of(ns: int) -> int:
    """The bin with this time."""
    return next(number for number in range(256 * PER_OCTAVE) if lower_border(number + 1) > ns)


AT = bin_of(100 * NS_PER_MS)
"""The bin of 100 ms."""
US = bin_of(1_000)
"""The bin of 1 us, where the axis may begin."""


def ms(border: int) -> float:
    return lower_border(border) / NS_PER_MS


def run(*steps: Mapping[int, int], summary: dict[str, Any] | None = None, **page: Any) -> RunNumbers:
    """A run whose requests have these TTFTs, in steps of 2 s; a step has its counts by bin."""
    series = {"step_s": 2.0, "t_s": [2.0 * k for k in range(len(steps))]}
    histograms = {key: [*steps] for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")}
    return RunNumbers(
        filled(RunSummary, {"window": {"start_s": None}, "inputs": None, **(summary or {})}),
        filled(PageData, series={**series, **page}, histograms=histograms),
    )


def bars(chart: Chart | None, panel: int = 0) -> list[float | None]:
    assert chart is not None
    return [*chart.panels[panel].lines[0].values]


def test_values_that_are_nearly_equal_have_room_around_them() -> None:
    chart = distribution_charts.distribution(run({AT: 3}, {AT: 1}), "ttft")
    assert chart is not None
    # Eight bins: three before the value, and four after it.
    assert bars(chart) == [0, 0, 0, 100, 0, 0, 0, 0]
    assert bars(chart, 1) == [0, 0, 0, 100, 100, 100, 100, 100]
    assert (chart.x, chart.x_span, chart.step) == ([k + 0.5 for k in range(8)], (0, 8), 1)
    assert chart.x_names == [f"{number(ms(AT + k))}–{number(ms(AT + k + 1))} ms" for k in range(-3, 5)]
    assert chart.recompute == {"kind": "distribution", "metric": "ttft_ms", "first": AT - 3, "group": 1, "bars": 8}


@pytest.mark.parametrize(
    ("last", "count", "group"), [(6, 8, 1), (7, 8, 1), (8, 9, 1), (47, 48, 1), (48, 25, 2), (95, 48, 2), (96, 33, 3)]
)
def test_an_axis_has_at_least_eight_bins_and_at_most_48_bars(last: int, count: int, group: int) -> None:
    chart = distribution_charts.distribution(run({AT: 2, AT + last: 6}), "ttft")
    assert chart is not None
    assert chart.recompute is not None
    assert (chart.recompute["first"], chart.recompute["group"], chart.recompute["bars"]) == (AT, group, count)
    shares = bars(chart)
    assert (len(shares), shares[0], shares[last // group]) == (count, 25, 75)
    assert sum(share or 0 for share in shares) == 100


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        # Of 100 values one is not more than a hundredth: the axis begins an octave before the others.
        ({AT - 600: 1, AT: 99}, AT - PER_OCTAVE),
        ({AT - 600: 2, AT: 98}, AT - 600),
        ({AT - PER_OCTAVE: 1, AT: 99}, AT - PER_OCTAVE),
        ({AT - PER_OCTAVE + 20: 1, AT: 99}, AT - PER_OCTAVE + 20),
        ({AT - 600: 1, AT - 500: 1, AT: 98}, AT - 500 - PER_OCTAVE),
        # A microsecond is the shortest time that has a place.
        ({US - 500: 50, AT: 50}, AT - PER_OCTAVE),
        ({US - 500: 50, US + 10: 50}, US),
        ({US: 50, US + 10: 50}, US),
    ],
)
def test_few_small_values_do_not_squeeze_the_others(counts: dict[int, int], first: int) -> None:
    chart = distribution_charts.distribution(run(counts), "ttft")
    assert chart is not None
    assert chart.recompute is not None
    assert chart.recompute["first"] == first
    left = sum(n for at, n in counts.items() if at < first)
    border = chart.x_names[0].removesuffix(" ms")
    assert border.startswith("under ") is (left > 0)
    assert bars(chart, 1)[-1] == 100
    if left:
        assert (bars(chart)[0] or 0) >= left


def test_without_values_a_distribution_has_an_axis_and_no_bars() -> None:
    chart = distribution_charts.distribution(run({}, {}), "ttft")
    assert chart is not None
    assert (bars(chart), bars(chart, 1), chart.empty) == ([None] * 8, [None] * 8, True)
    assert distribution_charts.distribution(RunNumbers(run({AT: 1}).summary), "ttft") is None


def test_marks_of_a_logarithmic_axis_stand_where_their_values_are() -> None:
    steps = {AT - 2 * PER_OCTAVE: 50, AT + 2 * PER_OCTAVE: 50}
    chart = distribution_charts.distribution(run(steps), "ttft")
    assert chart is not None
    assert chart.recompute is not None
    first, group = AT - 2 * PER_OCTAVE, chart.recompute["group"]
    assert [text for _, text in chart.ticks] == ["50", "100", "200"]
    for at, text in chart.ticks:
        # Within its bin, a value lies in proportion to its distance from the borders.
        below = bin_of(round(float(text) * NS_PER_MS))
        inside = (float(text) - ms(below)) / (ms(below + 1) - ms(below))
        assert at * int(str(group)) == pytest.approx(below + inside - first)


def test_a_heat_map_has_a_column_for_each_step_and_at_most_24_rows() -> None:
    chart = distribution_charts.ttft_heat_map(run({AT: 3, AT + 7: 1}, {}, {AT + 7: 2}))
    assert chart is not None
    (panel,) = chart.panels
    assert panel.cells is not None
    assert [[*column] for column in panel.cells.columns] == [[3, *[0] * 6, 1], [0] * 8, [*[0] * 7, 2]]
    (line,) = panel.lines
    assert ([*line.values], line.hidden, chart.wide) == ([4, None, 2], True, True)
    for last, rows in ((23, 24), (24, 13), (47, 24), (48, 17)):
        larger = distribution_charts.ttft_heat_map(run({AT: 1, AT + last: 1}))
        assert larger is not None
        assert larger.panels[0].cells is not None
        (column,) = larger.panels[0].cells.columns
        assert (len(column), column[0], column[-1]) == (rows, 1, 1)
    nothing = distribution_charts.ttft_heat_map(run({}))
    assert nothing is not None
    assert nothing.panels[0].cells is not None
    assert [[*column] for column in nothing.panels[0].cells.columns] == [[0] * 8]
    assert distribution_charts.ttft_heat_map(RunNumbers(run({AT: 1}).summary)) is None


def with_rows(**rows: Any) -> RunNumbers:
    return RunNumbers(filled(RunSummary, distributions=rows))


def test_response_times_are_counted_by_interval() -> None:
    rows = [
        {"from_ms": 0, "to_ms": 1250.5, "n": 3, "share": 0.75},
        {"from_ms": 1250.5, "to_ms": None, "n": 1, "share": 0.25},
    ]
    chart = distribution_charts.response_time_intervals(with_rows(response_time_intervals=rows))
    assert bars(chart) == [75, 25]
    hidden = chart.panels[0].lines[1]
    assert ([*hidden.values], hidden.hidden, hidden.unit) == ([3, 1], True, "")
    assert [*chart.x_names] == ["0–1,250.5 ms", "1,250.5 ms and more"]
    assert [*chart.ticks] == [(0.5, "0"), (1.5, "1,250.5+")]
    assert chart.recompute == {"kind": "intervals", "metric": "e2el_ms", "from_ms": [0, 1250.5]}


def test_each_nine_of_the_slow_tail_has_the_same_width() -> None:
    rows = [{"q": q, "ms": value} for q, value in ((0.0, 1.0), (0.5, 10.0), (0.9, 20.0), (0.999, 30.0), (1.0, 99.0))]
    chart = distribution_charts.response_time_quantiles(with_rows(response_time_quantiles=rows))
    end = -math.log10(0.0002)
    assert [*chart.x] == pytest.approx([0, math.log10(2), 1, 3, end])
    assert chart.x_span == pytest.approx((0, end))
    assert [*chart.x_names] == [
        "0% took at most",
        "50% took at most",
        "90% took at most",
        "99.9% took at most",
        "slowest",
    ]
    assert [text for _, text in chart.ticks] == ["0", "50%", "90%", "99%", "99.9%", "max"]
    assert [at for at, _ in chart.ticks] == pytest.approx([0, math.log10(2), 1, 2, 3, end])
    assert bars(chart) == [1, 10, 20, 30, 99]
    assert chart.recompute == {"kind": "quantiles", "metric": "e2el_ms", "q": [0.0, 0.5, 0.9, 0.999, 1.0]}


def test_responses_are_counted_by_their_status() -> None:
    chart = distribution_charts.status_codes(
        with_rows(status_codes={"200": 5, "301": 1, "404": 1, "503": 2, "none": 1})
    )
    requests, share = chart.panels[0].lines
    assert ([*requests.values], requests.tones) == ([5, 1, 1, 2, 1], ("good", "warn", "warn", "bad", "quiet"))
    assert ([*share.values], share.hidden, share.unit) == ([50, 10, 10, 20, 10], True, "%")
    assert [*chart.x_names] == ["HTTP 200", "HTTP 301", "HTTP 404", "HTTP 503", "no response"]
    assert [text for _, text in chart.ticks] == ["200", "301", "404", "503", "none"]


ROWS = [
    ["TTFT", "ms", "ttft_ms"], ["TPOT", "ms", "tpot_ms"], ["ITL", "ms", "itl_ms"], ["E2EL", "ms", "e2el_ms"],
    ["TPS", "tokens/s", "tpot_ms"],
]  # fmt: skip
AMOUNTS: dict[str, Any] = {
    "completed": [1, 2], "failed": [0, 1], "output_tokens": [10.04, 20.06], "inputs": [3, 4], "input_tokens": [5, 6],
    "end_s": 3.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "metrics", "rates"),
    [
        (None, ROWS, {"output_tokens_per_s": [10.0, 20.1]}),
        ({"are": "texts"}, ROWS[3:4], {"inputs_per_s": [3, 4], "input_tokens_per_s": [5, 6]}),
        ({"are": "requests"}, ROWS[3:4], {}),
    ],
)
def test_a_period_has_the_numbers_that_its_replies_have(
    inputs: dict[str, Any] | None, metrics: Sequence[list[str]], rates: dict[str, Any]
) -> None:
    data = period_data.period_data(run({AT: 1}, {AT + 1: 2}, summary={"inputs": inputs}, **AMOUNTS))
    assert data is not None
    assert data["metrics"] == metrics
    assert data["rates"] == {"requests_per_s": [1, 2]} | rates
    assert (data["start"], data["step"], data["steps"], data["end"], data["slice"]) == (0.0, 2.0, 2, 3.5, 1)
    assert (data["completed"], data["failed"], data["steady"]) == ([1, 2], [0, 1], None)
    assert data["histograms"]["ttft_ms"]["base"] == AT - 1


def test_a_period_can_be_chosen_from_two_steps_on() -> None:
    window = {"window": {"start_s": 1.0, "end_s": 3.0}}
    two = period_data.period_data(run({AT: 1}, {}, summary=window, **AMOUNTS))
    assert two is not None
    assert two["steady"] == [1.0, 3.0]
    assert period_data.period_data(run({AT: 1}, **AMOUNTS)) is None
    assert period_data.period_data(RunNumbers(run({}, {}).summary)) is None
    empty = period_data.period_data(run({}, {}, **AMOUNTS))
    assert empty is not None
    # Base 0, and no bins in either slice.
    assert empty["histograms"]["ttft_ms"] == {"base": 0, "packed": "AA"}
