"""The report in a real browser: it requests nothing, reports no errors, and shows its charts in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from bench.documents.run_charts import CHARTS
from tests.support.golden_certificate import golden_calibration
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.pages import open_page
from tests.support.rendered import run_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_chart_is_visible_and_nothing_is_asked_for(
    browser: Browser, report: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page, complaints = open_page(browser, report, scheme, width)
    assert page.locator("figure.chart").count() == len(CHARTS)
    for chart in page.locator("figure.chart").all():
        assert chart.is_visible()
        box = chart.locator("svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 60
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    page.close()


def test_latencies_and_errors_are_on_the_first_screen(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report, "light", 1440)
    for title in ("Objectives", "Latency and throughput", "Errors", "Next", "Latency over the whole run"):
        box = page.get_by_role("heading", name=title, exact=True).bounding_box()
        assert box is not None
        assert box["y"] < 1_200, title
    for name in ("Latency and throughput", "Errors"):
        table = page.get_by_role("table", name=name, exact=True).bounding_box()
        assert table is not None
        assert table["y"] + table["height"] < 1_500, name
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_a_certificate_shows_its_plots_and_asks_for_nothing(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    directory = golden_calibration(tmp_path / "run")
    page, complaints = open_page(browser, directory.path / "certificate.html", scheme, width)
    charts = page.locator("figure.chart").all()
    assert len(charts) == 9  # Three errors over time, four of true against measured, two of the lag.
    for chart in charts:
        box = chart.locator("svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 60
    # The charts over time zoom together. There are no numbers to recompute.
    boxes = page.locator("[data-time] svg").evaluate_all("svgs => svgs.map(svg => svg.getAttribute('viewBox'))")
    page.locator("#chart-error-ttft_ms .panels").focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    zoomed = page.locator("[data-time] svg").evaluate_all("svgs => svgs.map(svg => svg.getAttribute('viewBox'))")
    assert len(zoomed) == 4
    assert all(before != after for before, after in zip(boxes, zoomed, strict=True))
    page.keyboard.press("Escape")
    page.locator("#chart-qq-ttft_ms .panels").hover()
    assert "measured" in page.locator("#chart-qq-ttft_ms .tip").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    page.close()


def test_light_and_dark_differ_and_both_can_be_read(browser: Browser, report: Path) -> None:
    luminance = """(name) => {
        const parts = getComputedStyle(document.querySelector('.card'))[name].match(/[0-9.]+/g).slice(0, 3).map(Number);
        const [r, g, b] = parts.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }"""
    papers = []
    for scheme in ("light", "dark"):
        page, _ = open_page(browser, report, scheme)
        ink, paper = page.evaluate(luminance, "color"), page.evaluate(luminance, "backgroundColor")
        # WCAG's contrast; 7 is its strictest level.
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 7
        papers.append(paper)
        page.close()
    assert papers[0] > 0.8
    assert papers[1] < 0.1


LOW_CONTRAST = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const paint = (colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = new Set();
    for (const fold of document.querySelectorAll('details')) fold.open = true;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement, style = getComputedStyle(element);
        if (!node.data.trim() || !element.checkVisibility() || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
        const papers = [];
        for (let up = element; up; up = up.parentElement) papers.unshift(getComputedStyle(up).backgroundColor);
        const paper = luminance(paint(papers)), ink = luminance(paint([...papers, style.color]));
        const size = parseFloat(style.fontSize), bold = +style.fontWeight >= 700;
        const large = size >= 24 || (bold && size >= 18.66);
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        const where = `${element.tagName}.${element.className}: ${node.data.trim().slice(0, 40)}`;
        if (ratio < (large ? 3 : 4.5)) found.add(`${ratio.toFixed(2)} ${where}`);
    }
    return [...found];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(
    browser: Browser, report: Path, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    for path in (report, golden_calibration(tmp_path / "run").path / "certificate.html"):
        page, _ = open_page(browser, path, scheme)
        assert page.evaluate(LOW_CONTRAST) == []
        page.add_style_tag(content=".ci { color: #8a94a1 !important; background: #888 }")
        assert page.evaluate(LOW_CONTRAST)
        page.close()


def test_a_pointer_and_the_arrow_keys_read_single_values(browser: Browser, report: Path) -> None:
    page, complaints = open_page(browser, report, "light")
    panels = page.locator("#chart-ttft .panels")
    tip = panels.locator(".tip")
    assert not tip.is_visible()
    panels.hover()
    assert tip.is_visible()
    assert "median" in tip.inner_text()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    panels.focus()
    page.keyboard.press("ArrowRight")
    assert "0–1 s" in tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert "1–2 s" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert complaints == []
    page.close()


def test_charts_and_tables_are_there_without_scripts(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report, "light", scripts=False)
    assert page.locator("figure.chart svg").count() >= 9
    page.locator("#chart-tpot details summary").click()
    assert page.locator("#chart-tpot details table tbody tr").first.is_visible()
    page.close()


def test_the_page_allows_no_script_but_its_own(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "planted.html"
    path.write_text(
        run_page(golden_summary(), golden_page_data()).replace("</body>", "<script>window.planted = 1</script></body>")
    )
    page, complaints = open_page(browser, path, "light")
    assert page.evaluate("window.planted") is None
    assert "Content Security Policy" in complaints[0]
    page.close()
