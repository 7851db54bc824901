"""The console in another language: typed values survive the change, and the charts of a live page are translated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_reader_of_chinese_types_changes_the_language_and_watches(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url, locale="zh-CN")
    page.get_by_role("heading", name="还没有测试").wait_for()
    page.get_by_role("link", name="新建任务").click()
    page.wait_for_url(re.compile("/new$"))
    page.locator("#more summary").click()
    page.locator("[name=mode][value=rate]").check(force=True)
    for name, text in (
        ("rate", "7"),
        ("title", "夜间"),
        ("seed", "3"),
        ("api_key", "secret-key"),
        ("headers", "X-A: b"),
    ):
        page.locator(f"[name={name}]").fill(text)
    page.locator("#language").click()
    page.get_by_role("heading", name="New task").wait_for()
    # The page's script fills the fields in again, and reopens the section that was open.
    page.locator("#more[open]").wait_for()
    assert page.url.endswith("/new")
    assert page.locator("html").get_attribute("lang") == "en"
    typed = {
        name: page.locator(f"[name={name}]").input_value() for name in ("rate", "title", "seed", "api_key", "headers")
    }
    # Secrets are not stored, so they must be typed again.
    assert typed == {"rate": "7", "title": "夜间", "seed": "3", "api_key": "", "headers": ""}
    assert page.locator("[name=api_key]").get_attribute("placeholder") == "Type it again."
    assert page.locator("[name=mode][value=rate]").is_checked()
    assert page.evaluate("sessionStorage.length") == 0
    # A page without fields, and back with one click.
    page.locator("#language").click()
    page.get_by_role("heading", name="新建任务").wait_for()
    page.goto(page.url.removesuffix("new"))
    page.locator(".template").filter(has_text="固定并发").get_by_role("button", name="启动").click()
    page.locator("#n-done", has_text=re.compile(r"[1-9]")).wait_for()
    assert page.locator("#chart-ttft h3").inner_text() == "TTFT 随时间变化"
    # The state is sent after the numbers of its second.
    page.locator("#badge .state", has_text=re.compile("^(预热中|运行中)$")).wait_for()
    page.locator("#period output", has_text="到目前为止的全部数据").wait_for()
    page.locator("#chart-requests_per_s .panels").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#chart-requests_per_s .tip em").all_inner_texts() == ["已发送"]
    # A reader further down the page keeps the live charts.
    page.evaluate("scrollTo(0, 0)")
    # On a busy machine the task may have ended by itself, so there may be nothing to click.
    page.get_by_role("button", name="停止").evaluate_all("buttons => buttons.forEach(button => button.click())")
    page.locator("iframe.report").wait_for()
    # Once the live charts are gone, nothing draws them again, even when the reader returns to the page.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert complaints == []
    page.close()
