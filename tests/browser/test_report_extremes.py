"""Pages of results that hardly fit: errors without a space, names of 200 characters in three scripts, a million tokens, three
minutes, forty runs. No page scrolls sideways, and every axis can be read."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.cli import main
from bench.records import Outcome
from tests.support.made_records import made_record
from tests.support.made_runs import made_side, write_run
from tests.support.pages import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

NAME = "org/模型-דגם-نموذج-<script>alert(1)</script>-" + "endless" * 22

HARD_TO_READ = """() => {
    const found = [], page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) found.push(`the page is ${page.scrollWidth} px wide`);
    for (const figure of document.querySelectorAll('figure.chart:has(.panels)')) {
        const boxes = [...figure.querySelectorAll('.x span')].map((tick) => tick.getBoundingClientRect());
        if (!boxes.length) found.push(`${figure.id}: no ticks`);
        if (boxes.some((box, i) => i && box.left < boxes[i - 1].right)) found.push(`${figure.id}: ticks overlap`);
        if (!figure.querySelector('.x-title').textContent) found.push(`${figure.id}: the x axis has no title`);
        const units = [...figure.querySelectorAll('.unit > span')];
        if (units.some((unit) => !unit.textContent)) found.push(`${figure.id}: no unit`);
    }
    for (const card of document.querySelectorAll('.card, .verdict')) {
        const wide = card.checkVisibility() && card.scrollWidth > card.clientWidth + 1;
        if (wide) found.push(`runs out: ${card.textContent.trim().slice(0, 60)}`);
    }
    return found;
}"""


def run_of_huge_values(path: Path) -> Path:
    chance = random.Random(1)
    firsts = [180_000 * chance.lognormvariate(0, 0.3) for _ in range(60)]
    slow = [[first + 400.0 * k for k in range(5)] for first in firsts]
    huge: dict[str, Any] = {"tokens": None, "n": 1_000_000, "input_tokens": 1_000_000, "bytes_sent": 4 * 10**9}
    records = [made_record(i, sent_ms=5_000.0 * i, chunks_ms=chunks, **huge) for i, chunks in enumerate(slow)]
    return write_run(path, records, settings={"rate": 0.2, "slo": ["ttft:p99<1000000ms"]}, model=NAME)


def run_of_failures(path: Path) -> Path:
    outcomes = (Outcome.RESET, Outcome.HTTP_ERROR, Outcome.TIMEOUT_TOTAL)
    records = [
        made_record(i, sent_ms=100.0 * i, chunks_ms=(), outcome=outcomes[i % 3], error="x" * 300) for i in range(30)
    ]
    return write_run(path, records, settings={"slo": ["ttft:p99<1ms", "error_rate<1%"]}, model=NAME)


@pytest.mark.parametrize("make", [run_of_huge_values, run_of_failures])
def test_a_report_of_extremes_can_be_read_at_every_width(
    browser: Browser, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    main(["report", str(make(tmp_path / "run")), "--quiet"])
    page, complaints = open_page(browser, tmp_path / "run" / "report.html")
    for width in (1280, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(HARD_TO_READ) == [], width
    assert complaints == []
    page.close()


def test_a_comparison_of_forty_runs_has_ticks_that_name_them(browser: Browser, tmp_path: Path) -> None:
    sides = [made_side(tmp_path / name, 20, first=n, requests=10, model=NAME) for n, name in enumerate("ab")]
    assert main(["compare", *map(str, sides), "--out", str(tmp_path / "out")]) == 0
    page, complaints = open_page(browser, tmp_path / "out" / "compare.html", width=390)
    assert page.evaluate(HARD_TO_READ) == []
    ticks = page.locator("figure.chart").first.locator(".x span").all_inner_texts()
    assert (ticks[0], len(ticks) > 3) == ("1", True)
    assert complaints == []
    page.close()
