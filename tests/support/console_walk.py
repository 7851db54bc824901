"""A newcomer's walk through the console, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


MEASURED_S = 3
"""Lines of live.jsonl, one per second."""


def opened(browser: Browser, url: str, **options: object) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, **options)  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.context.set_default_timeout(PATIENCE_S * 1000)  # Also for pages that the page opens.
    page.goto(url)
    page.wait_for_url(re.compile("/$"))
    return page, complaints


def submit(page: Page, title: str, **settings: str) -> None:
    for name, value in settings.items():
        page.locator(f"[name={name}]").fill(value)
    page.locator("[name=title]").fill(title)
    page.locator("form.task").get_by_role("button", name="Start", exact=True).click()


def from_template_to_deletion(page: Page, runs: Path) -> None:
    """A test started with two clicks from the task list: watched, stopped, cloned, compared, and one of the two
    deleted."""
    page.locator(".template").filter(has_text="Fixed concurrency").get_by_role("button", name="Start").click()
    page.locator("#n-done", has_text=re.compile(r"[1-9]")).wait_for()
    assert page.locator("#chart-ttft svg").count() == 1
    # The server reports its metrics too.
    page.locator("#chart-server_requests.has svg").wait_for()
    # A run stopped in its warm-up has no charts.
    while not any(live.read_text().count('"running"') >= MEASURED_S for live in runs.glob("*/live.jsonl")):
        page.wait_for_timeout(200)
    # On a busy machine the test may have ended by itself, so there may be nothing to click.
    page.get_by_role("button", name="Stop").evaluate_all("buttons => buttons.forEach(button => button.click())")
    # The report appears by itself.
    page.frame_locator("iframe.report").get_by_role("heading", name=re.compile("Charts")).first.wait_for()
    assert page.locator("#live").count() == 0
    # The same test with a different concurrency, and shorter.
    page.get_by_role("link", name="Clone and edit").click()
    page.wait_for_url(re.compile("/new"))
    submit(page, "Short", concurrency="2", duration="", warmup="", requests="12", output_tokens="4")
    page.locator("iframe.report").wait_for()
    # Compare both.
    page.get_by_role("link", name="Tasks").click()
    page.wait_for_url(re.compile("/$"))
    assert page.locator("tbody tr").count() == 2
    for box in page.locator("tbody [type=checkbox]").all():
        box.check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url(re.compile("/compare"))
    assert page.locator("thead th").all_inner_texts()[1:] != []
    assert "concurrency" in page.locator("tbody th").all_inner_texts()
    # A different load is a different measurement, or this machine was too busy. A sentence explains why they are not
    # compared.
    assert "cannot be compared" in page.get_by_role("alert").inner_text()
    # One of them is deleted, with its files.
    page.get_by_role("link", name="Short").first.click()
    page.wait_for_url(re.compile("/tasks/"))
    name = page.url.rpartition("/")[2]
    assert (runs / name / "report.html").is_file()
    page.locator("#delete summary").press("Enter")
    page.locator("[name=files]").check()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url(re.compile("/$"))
    assert page.locator("tbody tr").count() == 1
    assert not (runs / name).exists()
