"""The y axis of a panel: it includes zero by default, and has room for negative values."""

from __future__ import annotations

import pytest

from bench.documents.charts import Chart, Line, Panel
from bench.report import plot


def axis(values: list[float], *, from_zero: bool = True) -> dict[str, float]:
    """The place of each tick, in percent from the top."""
    panel = Panel("ms", (Line("x", values),), from_zero=from_zero)
    x = list(range(len(values)))
    chart = Chart("k", "t", "m", "x", x, (0, max(len(values), 1)), ["x"] * len(values), (), 0, (panel,))
    return {tick.text: tick.at for tick in plot.draw(chart, panel).y_ticks}


@pytest.mark.parametrize(
    ("values", "from_zero", "marks"),
    [
        ([1.0, 4.0], True, {"0": 100, "1": 75, "2": 50, "3": 25, "4": 0}),
        ([-2.0, 2.0], True, {"-2": 100, "-1": 75, "0": 50, "1": 25, "2": 0}),
        ([-3.0, -1.0], True, {"-3": 100, "-2": 66.67, "-1": 33.33, "0": 0}),
        ([52.0, 58.0], False, {"52": 100, "54": 66.67, "56": 33.33, "58": 0}),
        ([53.0, 57.0], False, {"53": 100, "54": 75, "55": 50, "56": 25, "57": 0}),
        ([52.0, 58.0], True, {"0": 100, "20": 66.67, "40": 33.33, "60": 0}),
        ([5.0, 5.0], False, {"5": 100, "6": 0}),
        ([0.0], True, {"0": 100, "1": 0}),
        ([], True, {"0": 100, "1": 0}),
    ],
)
def test_marks_are_round_and_around_all_that_is_drawn(
    values: list[float], from_zero: bool, marks: dict[str, float]
) -> None:
    assert axis(values, from_zero=from_zero) == marks
