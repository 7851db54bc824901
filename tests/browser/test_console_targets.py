"""The page of targets in a real browser: in a narrow window its table scrolls, not the page, and its form names every
endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bench.endpoints import ENDPOINTS
from tests.support.console_walk import opened
from tests.support.literal_server import closed_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_saved_target_fits_a_narrow_page(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url)
    page.get_by_role("link", name="Targets").click()
    page.wait_for_url(re.compile("/targets"))
    hint = page.locator(".field:has([name=endpoint]) .hint").inner_text()
    assert [name for name in ENDPOINTS if name not in hint] == []
    page.locator("[name=name]").fill("mine")
    with closed_port() as gone:
        page.locator("[name=url]").fill(gone)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Probe").click()
        page.get_by_role("alert").wait_for()
    page.wait_for_load_state()  # Wait for the style sheet.
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert all("400" in said for said in complaints)  # The failing probe causes this.


def test_the_url_of_another_server_leaves_the_chosen_target(browser: Browser, url: str) -> None:
    page, complaints = opened(browser, url)
    page.goto(f"{page.url}targets")
    page.locator("[name=name]").fill("lab")
    page.locator("[name=url]").fill("http://127.0.0.1:10")
    page.get_by_role("button", name="Save").click()
    page.goto(re.sub("/targets.*", "/new", page.url))
    target, address = page.locator("#f-target"), page.locator("#f-url")
    assert target.input_value() == "lab"
    address.fill("http://127.0.0.1:10/v1/completions")
    address.blur()
    assert target.input_value() == "lab"
    address.fill("http://127.0.0.1:11")
    address.blur()
    assert target.input_value() == ""
    assert complaints == []
