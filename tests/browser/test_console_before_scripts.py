"""Actions on a page whose HTML has arrived, but not its script: nothing is lost, and no action changes its meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened
from tests.support.golden_certificate import golden_calibration

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser


class Late:
    """The script of a page, delivered when the test allows it."""

    def __init__(self, page: Page, script: str) -> None:
        self._page = page
        self._held: list[Route] = []
        page.route(f"**/static/{script}", self._hold)

    def _hold(self, route: Route) -> None:
        self._held.append(route)

    def come(self) -> None:
        while not self._held:  # The page may not have requested it yet.
            self._page.wait_for_timeout(20)
        for route in self._held:
            route.continue_()
        self._page.wait_for_load_state("load")


def test_what_is_typed_before_the_form_is_filled_in_again_stays(browser: Browser, url: str) -> None:
    from playwright.sync_api import expect

    page, complaints = opened(browser, url)
    page.goto(f"{page.url}new", wait_until="load")
    for name, text in (("title", "first"), ("concurrency", "7"), ("duration", "30s")):
        page.locator(f"[name={name}]").fill(text)
    page.locator("[name=endpoint]").select_option("embeddings")
    page.locator("[name=data][value=body]").check(force=True)
    late = Late(page, "connection.js")
    page.locator("#language").click(no_wait_after=True)
    page.locator("html[lang=zh-CN]").wait_for()
    page.locator("[name=title]").fill("second")
    page.locator("[name=endpoint]").select_option("completions")
    page.locator("[name=mode][value=rate]").check(force=True)
    page.locator("[name=rate]").fill("3")
    page.locator("#more summary").click()
    late.come()
    expect(page.locator("[name=duration]")).to_have_value("30s")
    assert {name: page.locator(f"[name={name}]").input_value() for name in ("title", "endpoint", "rate")} == {
        "title": "second", "endpoint": "completions", "rate": "3",
    }  # fmt: skip
    # The kind of data was chosen before the script came, the mode after it.
    assert page.locator("[name=data][value=body]").is_checked()
    assert page.locator("[name=mode][value=rate]").is_checked()
    assert page.locator("#more[open]").count() == 1
    assert complaints == []
    page.close()


def test_the_language_cannot_be_changed_before_the_script_that_keeps_what_is_typed(browser: Browser, url: str) -> None:
    from playwright.sync_api import expect

    page, complaints = opened(browser, url)
    late = Late(page, "connection.js")
    page.goto(f"{page.url}new", wait_until="commit")
    page.locator("[name=title]").fill("typed")
    assert page.get_by_role("link", name="中文").count() == 0
    late.come()
    page.unroute("**/static/connection.js")  # On the next page the script comes at once.
    page.get_by_role("link", name="中文").click()
    page.locator("html[lang=zh-CN]").wait_for()
    expect(page.locator("[name=title]")).to_have_value("typed")
    assert complaints == []
    page.close()


def test_without_scripts_the_language_is_a_link(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en")
    page = context.new_page()
    page.goto(url)
    page.get_by_role("link", name="中文").click()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    context.close()


def test_a_time_that_was_typed_in_utc_stays_the_same_time(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, timezone_id="Asia/Shanghai")
    late = Late(page, "console.js")
    page.goto(f"{page.url}new", wait_until="commit")
    assert page.locator("#zone").inner_text().strip() == "(UTC)"
    page.locator("[name=start_at]").fill("2999-01-01T18:00")
    late.come()
    page.locator("#zone", has_text="your time").wait_for()
    assert page.locator("[name=start_at]").input_value() == "2999-01-02T02:00"
    assert complaints == []
    page.close()


def test_a_report_that_comes_first_is_shown_whole(browser: Browser, url: str, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    golden_calibration(tmp_path / "runs" / "a")
    page, complaints = opened(browser, url)
    late = Late(page, "console.js")
    page.goto(f"{page.url}tasks/a", wait_until="commit")
    report = page.frame_locator("iframe.report")
    report.get_by_role("heading", name=re.compile("Charts")).first.wait_for()
    height = report.locator("body").evaluate("body => body.getBoundingClientRect().height")
    assert page.locator("iframe.report").bounding_box()["height"] < height  # type: ignore[index]
    late.come()
    expect(page.locator("iframe.report")).to_have_attribute("style", re.compile("height"))
    assert page.locator("iframe.report").bounding_box()["height"] >= height  # type: ignore[index]
    assert complaints == []
    page.close()


def test_a_file_is_not_sent_before_the_script_that_sends_large_ones_is_there(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url)
    late = Late(page, "upload.js")
    page.goto(f"{page.url}data", wait_until="commit")
    add = page.get_by_role("button", name="Add")
    add.wait_for()
    assert add.is_disabled()
    late.come()
    page.locator("#add button:enabled").wait_for()
    assert complaints == []
    page.close()
