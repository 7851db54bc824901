"""Times on the console's pages are in the reader's time zone, and so is a typed time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened, submit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_time_is_typed_and_shown_in_the_zone_of_the_browser(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, timezone_id="Asia/Kolkata")
    page.goto(page.url + "new?template=concurrency")
    assert page.locator("label[for=f-start_at]").inner_text() == "Not before (your time)"
    page.locator("[name=start_at]").fill("2999-01-01T18:00")
    submit(page, "Late", url="http://127.0.0.1:9")
    page.wait_for_url(re.compile("/tasks/"))
    waiting = page.locator("#waiting time")
    assert (waiting.inner_text(), waiting.get_attribute("title")) == ("2999-01-01 18:00", "2999-01-01 12:30 UTC")
    assert page.locator("#live").is_hidden()
    page.get_by_role("link", name="Tasks", exact=True).click()
    page.wait_for_url(re.compile("/$"))
    assert page.locator("tbody td time").inner_text() == "2999-01-01 18:00"
    assert complaints == []
    page.close()


def test_what_was_typed_is_there_in_the_other_language_and_after_the_way_back(browser: Browser, url: str) -> None:
    from playwright.sync_api import expect

    page, complaints = opened(browser, url, timezone_id="Asia/Kolkata")
    page.goto(page.url + "new?kind=sweep")
    typed = {"loads": "concurrency=1,2", "start_at": "2999-01-01T18:00", "title": "Nightly"}
    for name, text in typed.items():
        page.locator(f"[name={name}]").fill(text)
    page.locator("[name=api_key]").fill("secret-key")
    page.locator("[name=data][value=body]").check(force=True)
    page.locator("#language").click()
    page.locator("html[lang=zh-CN]").wait_for()

    def there() -> None:
        for name, text in typed.items():
            expect(page.locator(f"[name={name}]")).to_have_value(text)
        expect(page.locator("[name=data][value=body]")).to_be_checked()
        expect(page.locator("[name=api_key]")).to_have_value("")

    there()
    typed["loads"] = "rate=5,10"
    page.locator("[name=loads]").fill(typed["loads"])
    page.locator("nav a[href='/data']").click()
    page.wait_for_url(re.compile("/data$"))
    page.go_back()
    there()
    page.reload()
    there()
    assert "secret-key" not in str(page.evaluate("navigation.currentEntry.getState()"))
    assert complaints == []
    page.close()
