"""Interaction with a report in a real browser: zoom, periods with recomputed numbers, legends, saving, printing."""

from __future__ import annotations

import csv
import io
import random
import re
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.metrics.quantile import quantile
from bench.records import Outcome, RequestRecord
from tests.support.made_records import START_NS, made_record
from tests.support.made_summary import made_page
from tests.support.pages import open_page
from tests.support.rendered import run_page
from tests.support.slow_metrics import NS_PER_MS, NS_PER_S, itl_ns
from tests.support.tables import value_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

FROM_S, TO_S = 10, 20


def _records() -> list[RequestRecord]:
    """30 s. In the third from 10 s on, requests are four times slower, and one in nine of them fails."""
    chance = random.Random(5)
    records = []
    for index in range(900):
        sent_ms = index * 1000 / 30
        slow = 4 if FROM_S <= sent_ms / 1000 < TO_S else 1
        if slow > 1 and index % 9 == 0:
            records.append(made_record(index, sent_ms=sent_ms, outcome=Outcome.HTTP_ERROR, status=503, chunks_ms=()))
            continue
        at = slow * chance.lognormvariate(4, 0.5)
        chunks = []
        for _ in range(12):
            chunks.append(at)
            at += slow * chance.lognormvariate(2.5, 0.4)
        records.append(made_record(index, sent_ms=sent_ms, chunks_ms=chunks, input_tokens=100 + index))
    return records


RECORDS = _records()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("period") / "report.html"
    found.write_text(run_page(*made_page(RECORDS)), encoding="utf-8")
    return found


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    opened, complaints = open_page(browser, path, width=1440)
    yield opened
    assert complaints == []
    opened.close()


def _drag(page: Page, chart: str, from_s: float, to_s: float, until_s: float = 31) -> None:
    area = page.locator(f"#chart-{chart} .area").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + from_s / until_s * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (from_s + to_s) / 2 / until_s * box["width"], y)
    page.mouse.move(box["x"] + to_s / until_s * box["width"], y)
    page.mouse.up()


def _numbers(page: Page, metric: str) -> dict[str, float]:
    cells = page.locator(f'#period-numbers tr[data-metric="{metric}"] td[data-stat]')
    found = cells.evaluate_all("cells => cells.map(cell => [cell.dataset.stat, cell.textContent])")
    return {stat: float(text.replace(",", "")) for stat, text in found}


def _exact(metric: str, from_s: float, to_s: float) -> list[float]:
    """A metric's values in a period, from the records: TTFT by first token, ITL by token, the rest by end."""
    found: list[float] = []
    for record in RECORDS:
        if record.outcome is not Outcome.OK:
            continue
        if metric == "itl":
            rows = list(zip(record.chunk_ns[1:], (gap / NS_PER_MS for gap in itl_ns(record)), strict=True))
        else:
            value: Any = value_of(REQUEST_METRICS[metric].of, record)
            rows = [(record.chunk_ns[0] if metric == "ttft" else record.end_ns, value)]
        found += [value for at, value in rows if from_s <= (at - START_NS) / NS_PER_S < to_s]
    return sorted(found)


def test_the_numbers_of_a_period_are_within_one_percent_of_the_exact_ones(page: Page) -> None:
    _drag(page, "ttft", FROM_S + 0.2, TO_S - 0.2)
    assert page.locator("#period output").inner_text().startswith("10 s to 20 s: ")
    for metric in ("ttft", "tpot", "itl", "e2el", "tps"):
        values, found = _exact(metric, FROM_S, TO_S), _numbers(page, METRICS[metric].title)
        for stat, p in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}.items():
            assert found[stat] == pytest.approx(quantile(values, p), rel=0.01), (metric, stat)
        assert found["mean"] == pytest.approx(sum(values) / len(values), rel=0.01)


def test_the_headline_numbers_are_those_of_the_period_and_come_back(page: Page) -> None:
    cells = page.locator("[data-key]")
    whole = cells.all_inner_texts()
    _drag(page, "tps", FROM_S, TO_S)
    e2el = _exact("e2el", FROM_S, TO_S)
    shown = float(page.locator('[data-key="e2el:p50"] span >> nth=0').inner_text().replace(",", ""))
    assert shown == pytest.approx(quantile(e2el, 0.5), rel=0.01)
    rate = float(page.locator('[data-key="requests_per_s"] span >> nth=0').inner_text())
    assert rate == pytest.approx(len(e2el) / (TO_S - FROM_S), rel=0.001)
    assert page.locator("[data-key].changed").count() == len(whole)
    page.locator("[data-to=whole]").click()
    assert cells.all_inner_texts() == whole
    assert page.locator("#period-numbers").is_hidden()


def test_distributions_become_those_of_the_period_and_come_back(page: Page) -> None:
    def below(limit_ms: float) -> float:
        """The share of the TTFT bars below a time."""
        page.locator("#chart-ttft_distribution details").evaluate("details => { details.open = true; }")
        # The table is filled after it is opened.
        page.locator("#chart-ttft_distribution tbody tr").first.wait_for()
        rows = page.locator("#chart-ttft_distribution tbody tr").all_inner_texts()
        ends = [(float(re.split("[–\t ]", row)[1]), float(row.split("\t")[1])) for row in rows]
        return sum(share for high, share in ends if high <= limit_ms)

    drawn = page.locator("#chart-ttft_distribution svg").first.inner_html()
    # Bars have their own edges: a value near the limit may be on either side.
    whole = below(100)
    _drag(page, "ttft", FROM_S, TO_S)
    values = _exact("ttft", FROM_S, TO_S)
    assert below(100) == pytest.approx(sum(v < 97 for v in values) / len(values) * 100, abs=4)
    assert below(100) < whole / 2
    failed = sum(r.outcome is not Outcome.OK and FROM_S <= (r.end_ns - START_NS) / NS_PER_S < TO_S for r in RECORDS)
    page.locator("#chart-status_codes summary").click()
    page.locator("#chart-status_codes tbody tr").first.wait_for()
    assert f"HTTP 503\t{failed}\t" in page.locator("#chart-status_codes tbody").inner_text()
    page.locator("[data-to=whole]").click()
    assert page.locator("#chart-ttft_distribution svg").first.inner_html() == drawn
    assert below(100) == whole


def test_charts_over_time_zoom_together_and_a_double_click_resets(page: Page) -> None:
    boxes = "charts => charts.map(svg => svg.getAttribute('viewBox'))"
    svgs = page.locator("[data-time] svg")
    before = svgs.evaluate_all(boxes)
    ticks = page.locator("#chart-in_flight .x span").all_inner_texts()
    _drag(page, "ttft", FROM_S, TO_S)
    lefts = [float(box.split()[0]) for box in svgs.evaluate_all(boxes)]
    assert lefts == pytest.approx([FROM_S / 31 * 10_000] * len(lefts))
    assert page.locator("#chart-in_flight .x span").all_inner_texts() == [
        "10 s",
        "12 s",
        "14 s",
        "16 s",
        "18 s",
        "20 s",
    ]
    # Only for the zoomed part: the tip names its own seconds.
    page.locator("#chart-tpot .area").hover()
    assert re.match(r"1[45]–1[56] s", page.locator("#chart-tpot .tip").inner_text())
    page.locator("#chart-tpot .area").dblclick()
    assert svgs.evaluate_all(boxes) == before
    assert page.locator("#chart-in_flight .x span").all_inner_texts() == ticks


def test_a_click_or_a_shaking_hand_chooses_no_period(page: Page) -> None:
    _drag(page, "ttft", 10, 10.1)
    assert page.locator("#period output").inner_text() == "The whole run, exact."


def test_a_period_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    page.locator("#chart-ttft .panels").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator("#chart-ttft .selected").is_visible()
    page.keyboard.press("Enter")
    assert page.locator("#period output").inner_text().startswith("6 s to 9 s: ")
    page.keyboard.press("Escape")
    assert page.locator("#period output").inner_text() == "The whole run, exact."
    page.locator("#period input").first.fill("12")
    page.locator("#period input").first.press("Enter")
    assert page.locator("#period output").inner_text().startswith("12 s to 31 s: ")
    page.get_by_role("button", name="Steady window").click()
    assert page.locator("#period output").inner_text() != "The whole run, exact."


def test_a_legend_switches_a_series_and_the_axis_follows(page: Page) -> None:
    chart = page.locator("#chart-ttft")
    highest = chart.locator(".y span").first
    tops = {float(text.replace(",", "")) for text in chart.locator(".y span").all_inner_texts()}
    p99 = chart.get_by_role("button", name="P99")
    p99.click()
    assert p99.get_attribute("aria-pressed") == "false"
    assert not chart.locator("g.second").is_visible()
    assert chart.locator("g.main").is_visible()
    assert max(float(t.replace(",", "")) for t in chart.locator(".y span").all_inner_texts()) < max(tops)
    p99.press("Enter")
    assert chart.locator("g.second").is_visible()
    assert {float(text.replace(",", "")) for text in chart.locator(".y span").all_inner_texts()} == tops
    assert highest.is_visible()


def test_a_chart_is_saved_as_csv_svg_and_png_and_its_table_is_whole(page: Page) -> None:
    _drag(page, "ttft", FROM_S, TO_S)
    saved = {}
    for way in ("CSV", "SVG", "PNG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save Requests per second as {way}").click()
        saved[way] = Path(download.value.path()).read_bytes()
    rows = list(csv.reader(io.StringIO(saved["CSV"].decode())))
    assert rows[0] == ["from_s", "to_s", "sent (requests/s)"]
    assert [row[0] for row in rows[1:]] == [str(second) for second in range(FROM_S, TO_S)]
    assert [float(row[2]) for row in rows[1:]] == [30] * 10
    root = xml.etree.ElementTree.fromstring(saved["SVG"])
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Requests per second", "requests/s", "10 s", "20 s"} <= set(words)
    assert saved["PNG"][:8] == b"\x89PNG\r\n\x1a\n"
    assert len(saved["PNG"]) > 5_000
    page.locator("[data-to=whole]").click()
    page.locator("#chart-requests_per_s summary").click()
    # The table is filled after the click is handled.
    page.locator("#chart-requests_per_s tbody tr").nth(30).wait_for()
    assert page.locator("#chart-requests_per_s tbody tr").count() == 31


def test_points_and_rows_are_found_by_the_pointer(page: Page) -> None:
    page.locator("#chart-ttft_by_prompt .area").hover()
    tip = page.locator("#chart-ttft_by_prompt .tip").inner_text()
    index, prompt = re.search(r"#(\d+)", tip), re.search(r"prompt tokens\s+([\d,]+)", tip)
    assert index is not None
    assert prompt is not None
    assert int(prompt[1].replace(",", "")) == 100 + int(index[1])
    page.locator("#chart-timeline .area").hover()
    tip = page.locator("#chart-timeline .tip").inner_text()
    index, e2el = re.search(r"#(\d+)", tip), re.search(r"E2EL\s+([\d,.]+) ms", tip)
    assert index is not None
    assert e2el is not None
    expected = value_of(REQUEST_METRICS["e2el"].of, RECORDS[int(index[1])])
    assert float(e2el[1].replace(",", "")) == pytest.approx(expected, rel=0.001)


def test_on_paper_there_are_charts_and_the_configuration_and_no_buttons(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".fold", has_text="Configuration and versions").locator("h3").first.is_visible()
    assert page.locator("#chart-ttft svg").is_visible()
    for hidden in (".save", "#period", "#chart-ttft details", "#period-help"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.pdf(width="210mm", height="297mm")) > 10_000
