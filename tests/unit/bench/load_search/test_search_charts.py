"""The charts of a search: what they show, and where their axes have marks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from bench.load_search import charts
from bench.load_search.conclusion import conclude
from bench.load_search.visit_numbers import VisitNumbers
from bench.report import plot
from tests.support.made_visits import in_turn, made_search
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
    rows = in_turn(("scout", 20.0, 0.0), ("scout", 41.0, 0.5), ("visit", 36.0, 0.0), ("visit", 36.0, 0.0))
    search = made_search(*rows)
    assert search.posteriors[P99.text].high > 41.0
    known = conclude(search).known
    assert known is not None
    chart = charts.posterior(search, known)
    assert chart.band is not None
    assert 10 ** max(*chart.x, *chart.x_span, *chart.band) <= 41.0 + 1e-9
    assert max(float(name.removesuffix("/s")) for name in chart.x_names) <= 41.0


def test_every_valid_visit_is_a_point_from_the_lowest_load_to_the_highest() -> None:
    search = searched(9)
    numbers = {
        result.n: VisitNumbers(
            latency={"ttft_ms": {"p50": result.load, "p99": 2 * result.load}}, requests_per_s=result.load,
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
    ],
)
def test_marks_are_round_numbers(low: float, high: float, names: list[str]) -> None:
    marks = charts.ticks(math.log10(low), math.log10(high))
    assert [name for _, name in marks][: len(names)] == names
    assert len(marks) <= 6
    assert all(10**at == pytest.approx(float(name.replace(",", ""))) for at, name in marks)
