"""Pages of extreme results: errors without spaces, names of 200 characters in three scripts, values of 1e6 and 1e-6,
fifty arms, forty runs. No page scrolls sideways, nor on paper, and every axis is readable."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from bench.cli import main
from bench.documents.document import Document
from bench.documents.fit_document import fit_document
from bench.documents.plan_document import plan_document
from bench.documents.quality_document import quality_document
from bench.documents.tune_document import tune_document
from bench.records import Outcome
from bench.report import html
from bench.results.plan import PlanContent
from bench.results.profile import Profile
from bench.results.quality import QualityContent
from bench.results.tune import TuneContent
from tests.support.made_records import made_record
from tests.support.made_runs import made_side, write_run
from tests.support.pages import open_page
from tests.support.planned_server import MADE
from tests.support.results import filled

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
        const card = figure.getBoundingClientRect(), marks = [...figure.querySelectorAll('.y span')];
        if (marks.some((mark) => mark.getBoundingClientRect().left < card.left)) found.push(`${figure.id}: marks leave it`);
    }
    for (const card of document.querySelectorAll('.card, .verdict, .tile')) {
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


def race(arms: int, size: float, *, failed: int = 0) -> Document:
    """The first arms fail, and the next one is the best."""
    places = ("failed",) * failed + ("best",) * (arms > failed) + ("not told apart",) * (arms - failed - 1)
    change = {"value": size, "low": -size, "high": size * 1e3}
    why = {"why": "x" * 300, "last_words": [NAME]}
    made = [
        {
            "name": f"{k} {NAME}",
            "place": place,
            "value": size * k,
            "against_best": change,
            **(why if k < failed else {}),
        }
        for k, place in enumerate(places)
    ]
    turns = [{"arm": k, "round": r, "seconds": 20.0, "value": size * (k + r)} for r in (1, 2) for k in range(arms)]
    points = [{"arm": k, "load": 4, "tokens_per_s": size * k, "latency": size * (k + 1)} for k in range(failed, arms)]
    return tune_document(
        filled(
            TuneContent, goal="tokens_per_s", unit="tokens/s", load_unit="users", latency="e2el:p50", ended="decided",
            best=failed if arms > failed else None, not_told_apart=range(failed + 1, arms), gain=change, arms=made,
            turns=turns, points=points, start=NAME, command=[NAME],
        )
    )  # fmt: skip


def plan(rate: float, **of: Any) -> Document:
    slo = f"goodput({'ttft<1ms,' * 20})>=99%"
    peak = [{"objective": slo, "value": rate, "interval": [rate, rate], "holds": 0.5}]
    hours = [{"start_s": 900.0 * k, "rate": rate * k, "breaks": "yes"} for k in range(96)]
    told: dict[str, Any] = {"server": NAME, "unknown": [NAME], "warnings": [NAME], "command": [NAME], "hours": hours}
    return plan_document(filled(PlanContent, at_peak=peak, router="prefix", draws=9, most=10**6, **told, **of))


def profile(size: float) -> Document:
    row = orjson.loads(MADE.read_bytes())
    numbers = [
        {"number": name, "quantile": q, "measured": size, "replayed": 1 / size, "off": size}
        for name in ("ttft_ms", "tpot_ms")
        for q in ("p50", "p90", "p99")
    ]
    curves = [{"number": "ttft_ms", "measured": [size, 1.0, 1 / size], "replayed": [size] * 3}]
    bins = [{"least_decodes": k, "most_decodes": k, "rows": 1, "p10": -size, "p50": 0, "p90": size} for k in range(50)]
    replays = [{"name": NAME, "held_out": True, "numbers": numbers, "curves": curves}]
    unknown = [{"what": NAME, "why": NAME, "command": NAME}]
    row |= {"model": NAME, "warnings": [NAME], "unknown": unknown, "replay": replays}
    row["provenance"]["server"] = NAME
    row["fit"]["residuals"] = bins
    return fit_document(filled(Profile, row))


def quality(examples: int) -> Document:
    told = {"probe": NAME, "question": NAME, "wanted": NAME, "alone": NAME, "loaded": "نص" * 200, "at": 9}
    kinds = [{"kind": NAME, "probes": 10**6, "alone": 1.0, "loaded": 0.0}] * examples
    runs = [{"name": NAME, "phase": "alone", "status": "FAILED", "failed": 10**6}]
    told_of = {"examples": [told] * examples, "kinds": kinds, "runs": runs, "notes": [NAME], "ended": NAME}
    return quality_document(filled(QualityContent, config={"url": NAME}, margin=0.01, alpha=0.01, **told_of))


EXTREMES = {
    "race of fifty": lambda: race(50, 1e6), "race of tiny values": lambda: race(2, 1e-6), "race of one": lambda: race(1, 1.0),
    "race without an answer": lambda: race(3, 1.0, failed=3), "plan of a large day": lambda: plan(1e6, replicas=10**6),
    "plan of a small day": lambda: plan(1e-6), "profile off by a million": lambda: profile(1e6),
    "profile of tiny times": lambda: profile(1e-6), "answers": lambda: quality(5), "no answers": lambda: quality(0),
}  # fmt: skip


@pytest.mark.parametrize("make", EXTREMES.values(), ids=EXTREMES)
def test_a_page_of_extremes_can_be_read_at_every_width_and_on_paper(
    browser: Browser, tmp_path: Path, make: Callable[[], Document]
) -> None:
    (tmp_path / "page.html").write_text(html.render(make()))
    page, complaints = open_page(browser, tmp_path / "page.html")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(HARD_TO_READ) == [], width
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 with the margins of a browser.
    assert page.evaluate(HARD_TO_READ) == []
    assert set(
        page.locator("tbody tr").evaluate_all("rows => rows.map((row) => getComputedStyle(row).breakInside)")
    ) <= {"avoid"}
    assert complaints == []
    page.close()
