"""The plots of a certificate, value by value."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import certificate_charts
from bench.documents.charts import Chart
from bench.results.certificate import Certificate
from tests.support.results import filled

PLOTS: dict[str, Any] = {
    "over_time": {
        "step_s": 2.0,
        "t_s": [0.0, 2.0, 4.0],
        "ttft_ms": {"p50": [1.0, None, 2.0], "p99": [3.0, None, 4.0], "max": [5.0, None, 6.0]},
        "lag_ms": {"p50": [0.1, 0.2, 0.3], "p99": [0.4, 0.5, 0.6], "max": [0.7, 0.8, 0.9]},
    },
    "qq": {"ttft_ms": {"true": [10.0, 20.0], "measured": [11.0, 21.0]}},
    "lag": [
        {"from_ms": None, "to_ms": 0.0, "n": 1},
        {"from_ms": 0.0, "to_ms": 0.5, "n": 2},
        {"from_ms": 0.5, "to_ms": None, "n": 5},
    ],
}


def charts(**changes: Any) -> dict[str, Chart]:
    built = certificate_charts.build(filled(Certificate, plots={**PLOTS, **changes}))
    return {chart.key: chart for chart in built}


def values(chart: Chart) -> dict[str, list[float | None]]:
    return {line.name: [*line.values] for line in chart.panels[0].lines}


def test_errors_lie_in_the_middle_of_their_steps() -> None:
    chart = charts()["error-ttft_ms"]
    assert (chart.x, chart.x_span, chart.step) == ([1.0, 3.0, 5.0], (0.0, 6.0), 2.0)
    assert chart.x_names == ["0–2 s", "2–4 s", "4–6 s"]
    assert chart.ticks == tuple((float(second), f"{second} s") for second in range(7))
    assert values(chart) == {"median": [1.0, None, 2.0], "P99": [3.0, None, 4.0], "largest": [5.0, None, 6.0]}
    assert values(charts()["error-tpot_ms"]) == {name: [None, None, None] for name in ("median", "P99", "largest")}


def test_charts_over_time_zoom_together_and_show_the_largest_error_in_words_alone() -> None:
    found = charts()
    assert {key: chart.over_time for key, chart in found.items()} == {
        "error-ttft_ms": True, "error-tpot_ms": True, "error-e2el_ms": True, "qq-ttft_ms": False, "lag-over-time": True,
        "lag": False,
    }  # fmt: skip
    for key in ("error-ttft_ms", "lag-over-time"):
        assert [(line.style, line.hidden) for line in found[key].panels[0].lines] == [
            ("steps", False), ("steps", False), ("line", True),
        ]  # fmt: skip
    assert [(line.style, line.hidden, line.unit) for line in found["lag"].panels[0].lines] == [
        ("bars", False, None), ("line", True, ""),
    ]  # fmt: skip
    (panel,) = found["qq-ttft_ms"].panels
    assert (panel.from_zero, [line.dashed for line in panel.lines]) == (False, [False, True])


@pytest.mark.parametrize(("steps", "ticks"), [(6, "0 2 4 6 8 10 12"), (7, "0 5 10"), (30, "0 10 20 30 40 50 60")])
def test_an_axis_of_time_has_at_most_six_parts_and_ends_with_the_run(steps: int, ticks: str) -> None:
    over_time = {"step_s": 2.0, "t_s": [2.0 * k for k in range(steps)]}
    chart = charts(over_time=over_time, lag=[])["error-ttft_ms"]
    assert " ".join(text.removesuffix(" s") for _, text in chart.ticks) == ticks
    assert [at for at, _ in chart.ticks] == [float(text) for text in ticks.split()]


def test_lags_have_their_share_and_their_bounds_in_words() -> None:
    found = charts()
    assert values(found["lag-over-time"])["P99"] == [0.4, 0.5, 0.6]
    lag = found["lag"]
    assert values(lag) == {"share": [12.5, 25.0, 62.5], "chunks": [1, 2, 5]}
    assert [text for _, text in lag.ticks] == ["< 0", "0", "0.5"]
    assert lag.x_names == [
        "stamped before it was written: the clocks differ by that much", "0–0.5 ms", "0.5 ms and more",
    ]  # fmt: skip
    assert not {"lag", "lag-over-time"} & charts(lag=[]).keys()


def test_true_and_measured_share_their_axis_and_the_diagonal_goes_from_edge_to_edge() -> None:
    found = charts()
    assert [key for key in found if key.startswith("qq")] == ["qq-ttft_ms"]
    chart = found["qq-ttft_ms"]
    # From 10 to 21 ms, and 6% more.
    low, high = 15.5 - 0.53 * 11, 15.5 + 0.53 * 11
    assert chart.x_span == pytest.approx((low, high))
    assert chart.x == pytest.approx([low, 10.0, 20.0, high])
    assert chart.x_names == ["", "true 10 ms", "true 20 ms", ""]
    assert chart.ticks == ((10.0, "10"), (15.0, "15"), (20.0, "20"))
    assert values(chart)["measured"] == [None, 11.0, 21.0, None]
    assert values(chart)["true"] == chart.x


@pytest.mark.parametrize(
    ("points", "span"),
    [
        ([100.0, 100.0], (99.47, 100.53)),  # Equal values: 1% of them, and 6% more.
        ([0.0, 0.0], (0.0, 0.53e-11)),
        ([0.0, 10.0], (0.0, 10.3)),  # A time cannot be negative.
    ],
)
def test_the_axis_of_true_and_measured_has_room(points: list[float], span: tuple[float, float]) -> None:
    assert certificate_charts._span(points) == pytest.approx(span)
