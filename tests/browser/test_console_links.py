"""Links of a report in its sandbox: files in its folder open as a page of the console. Other links do nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened
from tests.support.made_tasks import made_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

LINKS = (
    '<!doctype html><title>r</title><a href="01-visit-1/report.html">a run</a> <a href="requests.jsonl">rows</a>'
    """<button onclick="parent.postMessage({ beside: '../../api/tasks' }, '*')">elsewhere</button>"""
)


def test_links_of_a_report_open_what_lies_beside_it(browser: Browser, url: str, tmp_path: Path) -> None:
    task = made_run(tmp_path / "runs", "a")
    visit = made_run(task, "01-visit-1")
    for path in (task, visit):
        (path / "report.html").write_text(LINKS)
        (path / "requests.jsonl").write_text(f"of {path.name}\n")
    page, complaints = opened(browser, url)
    page.get_by_role("link", name="a", exact=True).click()
    page.wait_for_url(re.compile("/tasks/a$"))  # Wait for the page's script, which listens to the report.
    report = page.frame_locator("iframe.report")
    report.get_by_role("button").click()  # A report may contain anything, but only files in its folder are opened.
    with page.context.expect_page() as tab:
        report.get_by_role("link", name="a run").click()
    run = tab.value
    run.wait_for_url(re.compile("/tasks/a/runs/01-visit-1$"))
    run.get_by_role("link", name="a", exact=True).wait_for()
    for place, link in ((page, "a/beside/"), (run, "a/beside/01-visit-1/")):
        # A tab that only downloads closes at once. The response shows what arrived.
        with page.context.expect_event("response", lambda answer: "requests.jsonl" in answer.url) as answered:
            place.frame_locator("iframe.report").get_by_role("link", name="rows").click()
        assert (answered.value.status, answered.value.url.partition("/tasks/")[2]) == (200, f"{link}requests.jsonl")
        assert "attachment" in answered.value.headers["content-disposition"]
    assert not any("api/tasks" in other.url for other in page.context.pages)
    assert complaints == []
    page.close()
