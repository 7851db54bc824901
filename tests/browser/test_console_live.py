"""The page of a running task, in a real browser: its charts have the values of live.jsonl, for any period."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from bench.metrics.histogram import bins_of_array
from bench.metrics.step_histograms import bins_of
from bench.run_files.run_directory import LIVE, RunDirectory
from tests.support.console_walk import opened
from tests.support.made_tasks import made_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SECONDS = 6
SLOW_FROM = 4
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
DRAWN_WITH = """([dots, lines]) => {
  const path = name => document.querySelector(`#chart-ttft g[data-line='0'] .${name}`)?.getAttribute("d") ?? "";
  return path("dots").split("h0").length - 1 === dots && path("stroke").split("L").length - 1 === lines;
}"""
VALUES = """key => CHARTS.find(chart => chart.figure.id === `chart-${key}`).data.panels[0].lines[0].values"""


def times(ms: float) -> dict[str, Any]:
    (number,) = bins_of(bins_of_array(np.array([ms * 1e6]))).tolist()
    return {"n": 10, "p50": ms, "p90": ms, "p99": ms, "histogram": [number, 10]}


def line(second: int, **changes: Any) -> bytes:
    """A line for one second of a load of ten requests/s. In the fifth second two are refused, and from then on all are
    slow."""
    refused = 2 if second == SLOW_FROM + 1 else 0
    ms = 400.0 if second > SLOW_FROM else 50.0
    return orjson.dumps(
        {"elapsed_s": second, "state": "running", "share_done": second / 60, "left_s": 60 - second, "load": 4,
         "planned": 10 * second, "sent": 10 * second, "done": 10 * second, "in_flight": 4, "failed": refused,
         "failures": {"http_error": refused} if refused else {}, "objectives": [],
         "errors": {"http_error": "status 429: slow down"} if refused else {},
         "second": {"succeeded": 10 - refused, "input_tokens": 100, "output_tokens": 80, "bytes_sent": 1000,
                    "bytes_received": 5000, "status": {"200": 10 - refused, **({"429": refused} if refused else {})},
                    "ttft_ms": times(ms), "tpot_ms": times(5.0), "itl_ms": times(5.0), "e2el_ms": times(ms + 40), **changes},
         "client": {"loop_lag_ms": 0.1, "cpu": 0.1, "run_queue_share": 0.0},
         "replicas": [{"replica": "http://<b>a", "requests_per_s": 7.5, "latency_ms": ms, "failed": refused},
                      {"replica": "http://name.of-a-replica:8000", "requests_per_s": 2.5, "latency_ms": None, "failed": 0}]},
        option=orjson.OPT_APPEND_NEWLINE,
    )  # fmt: skip


def test_charts_of_a_load_follow_it_in_any_period_and_a_title_being_typed_survives_its_end(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    run = made_run(tmp_path / "runs", "run", state="running")
    (run / LIVE).write_bytes(b"")
    page, complaints = opened(browser, url)
    with RunDirectory(run).held():
        page.goto(page.url + "tasks/run")
        # Before the first second there is nothing to draw.
        page.locator("#no-numbers").wait_for()
        assert not page.locator("#chart-status_codes").is_visible()
        (run / LIVE).write_bytes(b"".join(map(line, range(1, SECONDS))))
        page.locator("#n-sent", has_text=str(10 * (SECONDS - 1))).wait_for()
        with (run / LIVE).open("ab") as file:
            file.write(line(SECONDS))
        page.locator("#n-sent", has_text=str(10 * SECONDS)).wait_for()
        page.evaluate(DRAWN)
        assert page.evaluate(VALUES, "requests_per_s") == [10] * SECONDS
        assert page.locator("#chart-ttft .dots").count() == 0
        bar, charts = page.locator("#period").bounding_box(), page.locator(".charts").bounding_box()
        assert bar is not None
        assert charts is not None
        assert charts["y"] - (bar["y"] + bar["height"]) > 8
        assert page.evaluate(VALUES, "ttft") == [50] * SLOW_FROM + [400] * (SECONDS - SLOW_FROM)
        assert page.evaluate(VALUES, "status_codes") == [58, 2]
        assert "http_error (0): status 429: slow down" in page.locator("#errors").inner_text()
        rows = page.locator("#replicas tbody tr").all_inner_texts()
        assert [row.split() for row in rows] == [
            ["<b>a", "7.500", "400", "0"],
            ["name.of-a-replica:8000", "2.500", "–", "0"],
        ]
        page.set_viewport_size({"width": 420, "height": 900})
        # No column is cut off on a phone.
        assert (
            page.locator("#replicas .scroll").evaluate("({scrollWidth, clientWidth}) => scrollWidth - clientWidth") == 0
        )
        page.set_viewport_size({"width": 1440, "height": 900})
        # The slider selects the last seconds, and the menu shows their number.
        page.locator("#period [type=range]").press("Home")
        assert page.locator("#period select option:checked").inner_text() == "the last 5 s"
        assert page.evaluate("period") == [SECONDS - 5, SECONDS]
        assert page.locator("#chart-ttft .x").inner_text().split("\n")[0] == f"{SECONDS - 5} s"
        page.locator("#period [type=range]").press("End")
        assert page.evaluate("period") is None
        assert page.locator("#period select option:checked").inner_text() == "everything"
        # An axis that begins at zero, as when zoomed.
        assert (
            page.evaluate("CHARTS.flatMap(chart => chart.lists.map(list => list.textContent)).join().includes('-0')")
            is False
        )
        # The numbers cover the seconds of the typed period.
        bounds = page.locator("#period input[type=number]")
        bounds.nth(0).fill("0")
        bounds.nth(1).fill(str(SLOW_FROM))
        bounds.nth(1).blur()
        page.locator("#period-numbers").wait_for()
        assert page.evaluate(VALUES, "status_codes") == [10 * SLOW_FROM, 0]
        p99 = page.locator("[data-metric=TTFT] [data-stat=p99]").inner_text()
        assert float(p99) == pytest.approx(50, rel=0.01)
        page.locator("#marks summary").press("Enter")
        page.locator("[name=title]").press_sequentially("Nigh")
        # The run ends: its files appear, and its lock disappears.
        for file_of_ended in made_run(tmp_path / "ended", "run").iterdir():
            if file_of_ended.name != LIVE:
                shutil.copy(file_of_ended, run)
    page.locator("iframe.report").wait_for()
    page.keyboard.type("tly")
    assert page.locator("[name=title]").input_value() == "Nightly"
    # A selected period of the charts stays, and the report appears below.
    assert page.evaluate(VALUES, "status_codes") == [10 * SLOW_FROM, 0]
    page.get_by_role("link", name="Report", exact=True).click()
    page.wait_for_url(re.compile("#report$"))
    assert complaints == []
    page.close()


def test_a_second_between_two_without_a_first_token_is_a_dot(browser: Browser, url: str, tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs", "run", state="running")
    came = {1: times(50.0), 2: None, 3: times(70.0), 4: None, 5: times(60.0), 6: times(60.0)}
    (run / LIVE).write_bytes(b"".join(line(second, ttft_ms=ms) for second, ms in came.items()))
    page, complaints = opened(browser, url)
    with RunDirectory(run).held():
        page.goto(page.url + "tasks/run")
        page.locator("#n-sent", has_text="60").wait_for()
        # The number appears before the chart has all seconds: two dots, and a line between the last two.
        page.wait_for_function(DRAWN_WITH, arg=[2, 1])
    assert complaints == []
    page.close()
