"""The ticks of axes: the page's script, which redraws them for a period, follows the rules of the original page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bench.documents import formatting
from bench.documents.charts import Chart, Line, Panel
from bench.documents.document import ChartBlock, Document, Section
from bench.report import html, plot
from tests.support.pages import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

X_TICKS = """cases => cases.map(({span, ticks}) => {
    const list = document.createElement('div');
    Chart.prototype.ticks(list, ticks, 'left', ([at]) => (at - span[0]) / (span[1] - span[0]) * 100, ([, text]) => text);
    return [...list.children].map((tick) => [parseFloat(tick.style.left), tick.textContent]);
})"""
Y_TICKS = """() => CHARTS.flatMap((chart) => chart.data.panels.map((panel, k) => {
    const shown = () => [...chart.lists[k].children].map((tick) => [parseFloat(tick.style.top), tick.textContent]);
    const came = shown();
    chart.drawAxis(k, panel.lines.map(() => false));
    return [came, shown()];
}))"""


def _chart(k: int, *, ticks: tuple[tuple[float, str], ...] = (), **of: Any) -> Chart:
    panel = Panel("ms", (Line("a", of.pop("values", [0.0])),), **of)
    x = [float(at) for at in range(len(panel.lines[0].values))]
    names = [str(at) for at in x]
    return Chart(f"c{k}", "title", "meaning", "x", x, (0.0, max(1.0, len(x) - 1.0)), names, ticks, 0, (panel,))


@pytest.fixture(scope="module")
def charts() -> list[Chart]:
    """Y axes over values of every size, above, around and below zero, and axes that do not reach it."""
    chance = random.Random(6)
    made = []
    for k in range(160):
        size = 10.0 ** chance.randint(-7, 11)
        low, high = sorted((chance.uniform(-0.3, 1.0) * size, chance.uniform(-0.3, 1.0) * size))
        values = [float(f"{value:.4g}") if value < 1e4 else float(round(value)) for value in (low, high, low)]
        made.append(_chart(k, values=values, from_zero=k % 3 != 0, si=k % 4 == 0))
    return [*made, _chart(160), _chart(161, values=[5.0], from_zero=False), _chart(162, values=[2.0, 8.0])]


@pytest.fixture(scope="module")
def page(browser: Browser, charts: list[Chart], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path = tmp_path_factory.mktemp("ticks") / "page.html"
    blocks = tuple(map(ChartBlock, charts))
    path.write_text(html.render(Document("Axes", (), (Section("", blocks),))))
    made, complaints = open_page(browser, path)
    assert complaints == []
    yield made
    made.close()


def test_the_script_marks_a_y_axis_as_the_page_did(page: Page, charts: list[Chart]) -> None:
    for (came, drawn), chart in zip(page.evaluate(Y_TICKS), charts, strict=True):
        values = chart.panels[0].lines[0].values
        assert [text for _, text in came] == [text for _, text in drawn], values
        assert [at for at, _ in came] == pytest.approx([at for at, _ in drawn], abs=0.01), values


def test_the_script_writes_numbers_as_the_page_does(page: Page) -> None:
    chance = random.Random(8)
    values = [chance.uniform(-1, 1) * 10.0 ** chance.randint(-9, 13) for _ in range(400)] + [0.0, 999_600.0, 1e-6, 1e6]
    written = page.evaluate("values => values.map((value) => [number(value), si(value)])", values)
    assert written == [[formatting.number(value), formatting.si(value)] for value in values]


def test_the_script_leaves_out_the_ticks_of_an_x_axis_that_the_page_leaves_out(page: Page) -> None:
    chance = random.Random(7)
    made = []
    for k in range(120):
        span = chance.choice((1.0, 30.0, 4_000.0))
        places = [span * at / 40 for at in sorted(chance.sample(range(41), chance.randint(1, 40)))]
        ticks = tuple((at, "x" * chance.randint(1, chance.choice((3, 9, 40)))) for at in places)
        made.append((span, ticks, _chart(k, ticks=ticks)))
    cases = [{"span": [0, span], "ticks": ticks} for span, ticks, _ in made]
    for (span, ticks, chart), drawn in zip(made, page.evaluate(X_TICKS, cases), strict=True):
        chart = replace(chart, x_span=(0.0, span))
        came = plot.x_ticks(chart)
        assert [tick.text for tick in came] == [text for _, text in drawn], ticks
        assert [tick.at for tick in came] == pytest.approx([at for at, _ in drawn], abs=0.01), ticks
