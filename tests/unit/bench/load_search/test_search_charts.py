"""The charts of a search: their content, and the ticks of their axes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bench.load_search import charts
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Known, Search
from bench.load_search.visit_numbers import VisitNumbers
from bench.report import plot
from bench.results.numbers import Metric
from tests.support.made_visits import MEAN, TPOT, in_turn, made_search, made_visit
from tests.support.results import filled
from tests.unit.bench.load_search.test_conclusion import CLOSE, SCOUTS
from tests.unit.bench.load_search.test_follower import P99, searched


def test_the_posterior_is_drawn_around_the_interval_and_its_certainty_falls_with_the_load() -> None:
    search = searched(9)
    known = search.known()
    assert known is not None
    chart = charts.posterior(search, known)
    loads = [10**x for x in chart.x]
    assert loads[0] < known.low < known.high < loads[-1]
    assert chart.band == pytest.approx((math.log10(known.low), math.log10(known.high)))
    density, sure = (panel.lines[0] for panel in chart.panels)
    masses = [value for value in density.values if value is not None]
    assert sum(masses) == pytest.approx(100.0, abs=1.0)
    certainties = [value for value in sure.values if value is not None]
    assert all(a >= b for a, b in pairwise(certainties))
    at_estimate = certainties[int(np.argmin([abs(load - known.estimate) for load in loads]))]
    assert 30 < at_estimate < 70


def test_no_load_is_drawn_above_what_was_tried() -> None:
    """The posterior reaches beyond the scout that broke at 41/s."""
    rows = in_turn(("scout", 20.0, 0.0), ("scout", 41.0, 0.5), ("visit", 36.0, 0.0), ("visit", 40.0, 0.012))
    search = made_search(*rows)
    assert search.estimates.posteriors[P99.text].high > 41.0
    known = conclude(search).known
    assert known is not None
    chart = charts.posterior(search, known)
    assert chart.band is not None
    # The last drawn load is at most one step of the grid below the end of the interval.
    assert chart.x[-1] < math.log10(known.high)
    assert chart.band == (math.log10(known.low), chart.x[-1])
    assert 10 ** max(*chart.x, *chart.x_span, *chart.band) <= 41.0 + 1e-9
    assert max(float(name.removesuffix("/s")) for name in chart.x_names) <= 41.0


def test_every_valid_visit_is_a_point_from_the_lowest_load_to_the_highest() -> None:
    search = searched(9)
    numbers = {
        result.n: VisitNumbers(
            latency={"ttft_ms": filled(Metric, {"p50": result.load, "p99": 2 * result.load})}, requests_per_s=result.load,
            output_tokens_per_s=100 * result.load,
        )
        for result in search.results
    }  # fmt: skip
    _, violations, latency, throughput = charts.build(search, numbers, search.known())
    loads = sorted(result.load for result in search.results)
    assert [10**x for x in violations.x] == pytest.approx(loads)
    points, allowed = violations.panels[0].lines
    assert (points.style, points.name, allowed.dashed) == ("points", P99.text, True)
    by_load = sorted(search.results, key=lambda result: result.load)
    assert list(points.values) == pytest.approx([100 * r.violations[P99.text] / r.requests for r in by_load])
    assert set(allowed.values) == {1.0}
    assert list(latency.panels[0].lines[1].values) == pytest.approx([2 * load for load in loads])
    assert list(throughput.panels[1].lines[0].values) == pytest.approx(loads)


def test_points_are_not_joined() -> None:
    chart = charts.build(searched(6), {}, searched(6).known())[1]
    svg = plot.draw(chart, chart.panels[0]).svg
    (dots,) = [part for part in svg.split("<path ") if 'class="points large"' in part]
    assert dots.count("M") == dots.count("h0") == 6
    assert "l" not in dots.partition('d="')[2].partition('"')[0]


def test_a_search_of_one_load_has_no_chart() -> None:
    assert charts.build(searched(1), {}, None) == []


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (1, 1000, ["1", "10", "100", "1,000"]),
        (1, 10, ["1", "3", "10"]),
        (20, 60, ["20", "30", "50"]),
        (33, 42, ["33", "35", "37", "39", "41"]),
        (1, 6, ["1", "2", "5"]),
        (1.4, 3.2, ["1.5", "2", "3"]),
        (4.9, 10.5, ["5", "7", "10"]),
        (7.8, 11, ["8", "8.5", "9", "9.5", "10"]),
        (3, 4.4, ["3", "3.5", "4"]),
        (9.75, 10.25, ["9.8", "9.9", "10"]),
        (9.89, 10.1, ["9.9", "9.92", "9.94", "9.96", "9.98", "10"]),
    ],
)
def test_marks_are_round_numbers(low: float, high: float, names: list[str]) -> None:
    marks = charts.ticks(math.log10(low), math.log10(high))
    assert [name for _, name in marks] == names
    assert all(10**at == pytest.approx(float(name.replace(",", ""))) for at, name in marks)


def two_visits(**changes: Any) -> Search:
    """Visits at 100/s and, made first, at 1,000/s."""
    return made_search(made_visit(1, 1_000.0, 0.02, **changes), made_visit(2, 100.0, **changes))


def test_points_have_a_twentieth_of_room_on_either_side_and_the_name_of_their_visit() -> None:
    chart = charts.violations(two_visits(), two_visits().results, None)
    assert list(chart.x) == [2.0, 3.0]
    assert chart.x_span == pytest.approx((1.95, 3.05))
    assert list(chart.x_names) == ["100/s (visit 2)", "1,000/s (visit 1)"]
    assert list(chart.panels[0].lines[0].values) == pytest.approx([0.0, 2.0])
    assert (chart.band, chart.step) == (None, 0)


@pytest.mark.parametrize(
    ("low", "high", "band"),
    [(200.0, 500.0, (math.log10(200), math.log10(500))), (10.0, 500.0, (1.95, math.log10(500))),
     (200.0, 5_000.0, (math.log10(200), 3.05))],
)  # fmt: skip
def test_the_interval_of_the_answer_is_cut_at_the_ends_of_a_chart(
    low: float, high: float, band: tuple[float, float]
) -> None:
    search = two_visits()
    known = Known(300.0, low, high, 400.0, P99.text, None, None)
    assert charts.violations(search, search.results, known).band == pytest.approx(band)


def test_an_objective_on_a_mean_has_no_share_and_a_visit_that_judged_nothing_has_none() -> None:
    search = made_search(made_visit(1, 100.0, requests=0), made_visit(2, 200.0, 0.5), goals=(MEAN, P99, TPOT))
    lines = charts.violations(search, search.results, None).panels[0].lines
    assert [line.name for line in lines] == [P99.text, "allowed", TPOT.text, "allowed"]
    assert list(lines[0].values) == [None, 50.0]
    assert [list(line.values) for line in lines[1::2]] == [[1.0, 1.0], [10.0, 10.0]]
    assert [(line.tone, line.dashed) for line in lines] == [
        ("main", False), ("main", True), ("second", False), ("second", True)
    ]  # fmt: skip


def test_latency_is_that_of_streams_where_one_visit_has_one_and_else_of_whole_replies() -> None:
    search = two_visits()
    whole = {"e2el_ms": filled(Metric, {"p50": 900.0, "p99": 990.0})}
    numbers = {n: VisitNumbers(latency=whole) for n in (1, 2)}
    (panel,) = charts.latency(search, search.results, numbers, None).panels
    assert panel.unit == "E2EL, ms"
    assert [list(line.values) for line in panel.lines] == [[900.0, 900.0], [990.0, 990.0]]
    numbers[1] = VisitNumbers(latency={**whole, "ttft_ms": filled(Metric, {"p50": 50.0})})
    ttft, tpot = charts.latency(search, search.results, numbers, None).panels
    assert (ttft.unit, tpot.unit) == ("TTFT, ms", "TPOT, ms")
    assert list(ttft.lines[0].values) == [None, 50.0]


def test_throughput_is_of_inputs_where_replies_are_no_text() -> None:
    search = two_visits()
    for name, numbers in (
        ("inputs/s", {1: VisitNumbers(requests_per_s=3.0, inputs_per_s=7.0)}),
        ("output tokens/s", {1: VisitNumbers(requests_per_s=3.0, output_tokens_per_s=7.0)}),
    ):
        first, second = charts.throughput(search, search.results, numbers, None).panels
        assert (first.unit, list(first.lines[0].values)) == (name, [None, 7.0])
        assert list(second.lines[0].values) == [None, 3.0]


def test_two_loads_make_charts_and_lost_visits_are_no_points() -> None:
    lost = made_visit(3, 500.0, verdict="FAILED")
    search = made_search(*two_visits().results, lost)
    assert [chart.key for chart in charts.build(search, {}, None)] == ["violations", "latency", "throughput"]
    assert list(charts.build(search, {}, None)[0].x) == [2.0, 3.0]
    assert charts.build(made_search(made_visit(1, 100.0), made_visit(2, 100.0), lost), {}, None) == []


def test_the_objective_that_binds_is_an_area_and_others_are_lines() -> None:
    search = made_search(*in_turn(*SCOUTS, *CLOSE), goals=(TPOT, P99))
    known = search.known()
    assert known is not None
    assert known.binding == P99.text
    chart = charts.posterior(search, known)
    assert [(line.name, line.style, line.tone) for line in chart.panels[0].lines] == [
        (TPOT.text, "line", "main"), (P99.text, "area", "second")
    ]  # fmt: skip
    # Everything drawn lies within half an interval of its ends, and below the highest load that was tried.
    wide = (known.high / known.low) ** 1.5
    grid = search.estimates.posteriors[P99.text].grid
    highest = max(result.load for result in search.results)
    shown = [load for load in grid if known.low / wide <= load <= min(known.high * wide, highest)]
    assert [10**x for x in chart.x] == pytest.approx(shown)
    assert chart.x_span == (chart.x[0], chart.x[-1])
    assert list(chart.panels[0].lines[1].values) == pytest.approx(
        [100 * float(search.estimates.posteriors[P99.text].mass[int(np.argmin(abs(grid - load)))]) for load in shown]
    )
    # The chance that the capacity is this load or higher.
    mass = search.estimates.posteriors[P99.text].mass
    at = [int(np.argmin(abs(grid - load))) for load in shown]
    assert list(chart.panels[1].lines[1].values) == pytest.approx([100 * float(mass[place:].sum()) for place in at])


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (9.999, 10.001, ["10"]),  # Without three round numbers, the middle.
        # Thirteen decades with at most six marks: every third.
        (1, 1e12, ["1", "1,000", "1e+06", "1e+09", "1e+12"]),
    ],
)
def test_marks_of_a_narrow_and_of_a_wide_axis(low: float, high: float, names: list[str]) -> None:
    marks = charts.ticks(math.log10(low), math.log10(high))
    assert [name for _, name in marks] == names
    assert [10**at for at, _ in marks] == pytest.approx([float(name.replace(",", "")) for name in names])
