"""A newcomer's walk through the console in a real browser, and every page at every width, in light and dark."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_process import READ_TOKEN
from tests.support.console_walk import from_template_to_deletion, opened, submit
from tests.support.made_runs import made_run as write_a_run
from tests.support.made_tasks import made_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


WIDER_WITHIN = """
    [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)
"""


def test_a_newcomer_tests_watches_clones_compares_and_deletes(browser: Browser, url: str, tmp_path: Path) -> None:
    page, complaints = opened(browser, url)
    # With a template, two clicks lead from the printed URL to a running test, including its mock.
    page.get_by_role("heading", name="No test yet").wait_for()
    from_template_to_deletion(page, tmp_path / "runs")
    assert complaints == []
    page.close()


def test_ticked_tasks_are_compared_on_the_page_of_the_command(browser: Browser, url: str, tmp_path: Path) -> None:
    for name, rate in (("before", 10.0), ("after", 20.0)):
        write_a_run(tmp_path / "runs" / name, settings={"rate": rate})
        (tmp_path / "runs" / name / "report.html").touch()
    page, complaints = opened(browser, url)
    page.reload()
    for box in page.locator("tbody [type=checkbox]").all():
        box.check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url(re.compile("/compare"))
    # A different load is a different measurement. A sentence explains it, and one click compares the tasks anyway.
    assert re.search(r"they differ in rate \(\d+ against \d+\)", page.get_by_role("alert").inner_text())
    page.get_by_role("button", name="Compare all the same").click()
    comparison = page.frame_locator("iframe[title=Comparison]")
    comparison.get_by_role("heading", name="A against B").wait_for()
    assert "rate" in comparison.get_by_role("heading", name="What differs").locator("..").inner_text()
    assert complaints == []
    page.close()


def test_a_button_pressed_again_before_the_answer_does_nothing(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url)
    page.goto(f"{page.url}new?kind=run")
    page.evaluate(
        "() => { window.kept = []; "
        "addEventListener('submit', (event) => { kept.push(event.defaultPrevented); event.preventDefault(); }); }"
    )
    start = page.locator("form.task").get_by_role("button", name="Start", exact=True)
    start.click()
    start.click()
    assert page.evaluate("kept") == [False, True]
    # A user who stops loading the answer may click again.
    page.evaluate("navigation.dispatchEvent(new Event('navigateerror'))")
    start.click()
    assert page.evaluate("kept") == [False, True, False]
    assert complaints == []
    page.close()


def test_problems_stand_beside_their_fields(browser: Browser, url: str) -> None:
    page, _ = opened(browser, url)
    page.get_by_role("link", name="New task").click()
    page.wait_for_url(re.compile("/new"))
    page.locator("summary", has_text="More").click()
    submit(page, "Wrong", url="http://127.0.0.1:9", concurrency="many", duration="soon", timeout="-1")
    wrong = page.locator(".field.bad")
    wrong.first.wait_for()
    page.wait_for_load_state()  # Some elements may appear before others.
    assert wrong.locator("label").all_inner_texts() == ["Users", "Duration", "Timeout"]
    assert page.locator("[name=concurrency]").input_value() == "many"
    # The first field with a problem gets the focus, and a description of it.
    first = page.locator("[name=concurrency]:focus[aria-invalid=true]")
    described = first.get_attribute("aria-describedby") or ""
    assert wrong.first.locator(".wrong").inner_text() in page.locator(f"#{described.split()[-1]}").inner_text()
    page.close()


def test_the_read_only_token_sees_no_button_that_it_cannot_use(browser: Browser, url: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made_run(tmp_path / "runs", name)
    (tmp_path / "runs" / ".console" / "files").mkdir()
    (tmp_path / "runs" / ".console" / "files" / "rows.jsonl").write_text("{}\n")
    page, complaints = opened(browser, f"{url.partition('?')[0]}?token={READ_TOKEN}")
    base = page.url.rstrip("/")
    buttons = {
        "/": ["Filter", "⋯", "⋯", "Compare the chosen"],
        "/tasks/a": ["Compare with …", "Export", "Copy", "Copy"],
        "/data": [],
        "/targets": [],
        "/new": [],
        "/compare?task=a": ["Compare"],
    }
    for path, seen in buttons.items():
        page.goto(base + path)
        page.locator("header", has_text="read-only").wait_for()
        for details in page.locator("details:visible").all():
            details.evaluate("details => { details.open = true; }")
        assert page.locator("button:visible, a.button:visible, input[type=file]:visible").all_inner_texts() == seen, (
            path
        )
    page.goto(base)
    page.locator(".dots").first.click()
    assert page.locator(".menu:popover-open > :visible").all_inner_texts()[:2] == ["Compare with …", "Export"]
    assert complaints == []
    page.close()


def test_pages_work_without_scripts(browser: Browser, url: str, tmp_path: Path) -> None:
    made_run(tmp_path / "runs", "a")
    page, _ = opened(browser, url, java_script_enabled=False)
    page.get_by_role("link", name="a", exact=True).click()
    page.locator("summary", has_text="Title").press("Enter")
    page.locator("[name=title]").fill("Nightly")
    page.get_by_role("button", name="Save").click()
    page.locator("h1", has_text="Nightly").wait_for()
    page.close()


@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "zh-CN")])
def test_every_page_fits_every_width(scheme: str, language: str, browser: Browser, url: str, tmp_path: Path) -> None:
    for n in range(3):
        made_run(tmp_path / "runs", f"20261125T15000{n}-run", ttft=50.0 + n, held=n != 1)
    failed = tmp_path / "runs" / "20261125T150003-failed"
    failed.mkdir()
    (failed / "task.yaml").write_text("kind: run\nsettings: {url: 'http://h:1'}\n")
    (failed / "console.log").write_text(f"error: http://127.0.0.1:8703/{'v1/chat/' * 9}completions is not there\n")
    page, complaints = opened(browser, url, color_scheme=scheme, locale=language)
    paths = ["/", "/new", "/new?template=rate", "/targets", "/data", "/api", "/tasks/20261125T150000-run",
             "/tasks/20261125T150003-failed", "/compare?task=20261125T150000-run&task=20261125T150001-run"]  # fmt: skip
    base = page.url.rstrip("/")
    for path in paths:
        page.goto(base + path)
        for width in (1440, 1024, 768, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            # No table scrolls sideways within its card, either.
            assert page.evaluate(WIDER_WITHIN) == [], (path, width)
    assert complaints == []
    page.close()


def test_a_thousand_tasks_are_listed(browser: Browser, url: str, tmp_path: Path) -> None:
    first = made_run(tmp_path / "runs", "20261125T150000-run")
    for n in range(1, 1000):
        shutil.copytree(first, first.with_name(f"20261125T15{n:04}-run"), copy_function=os.link)
    page, complaints = opened(browser, url)
    assert "1000 in all" in page.locator(".head").inner_text()
    assert page.locator("tbody tr").count() == 200
    for part in ("201 to 400 of 1000", "401 to 600 of 1000"):
        page.get_by_role("link", name="Older").click()
        page.get_by_text(part).wait_for()
        assert page.locator("tbody tr").count() == 200
    page.get_by_role("link", name="Newer").click()
    page.get_by_text("201 to 400 of 1000").wait_for()
    page.locator("[name=search]").fill("T150007-")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(re.compile("search="))
    assert page.locator("tbody tr").count() == 1
    assert complaints == []
    page.close()
