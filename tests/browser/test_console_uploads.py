"""An upload whose connection is lost continues, and one whose page was left continues when the same file is chosen
again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.browser
PART = 4 * 1024 * 1024


def test_an_upload_goes_on_after_a_lost_connection_and_after_its_page_was_left(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    content = b'{"prompt": "a long one %s"}\n' % (b"word " * 200) * 9_000
    assert 2 * PART < len(content) < 3 * PART
    (tmp_path / "rows.jsonl").write_bytes(content)
    page, _ = opened(browser, url)
    ranges: list[str] = []
    asked_again: list[Route] = []

    def lost_once(route: Route) -> None:
        ranges.append(route.request.headers["content-range"])
        if len(ranges) == 2:
            route.abort("connectionreset")
        elif len(ranges) < 4:
            route.continue_()  # The fourth part gets no answer, as the page is left meanwhile.

    def routed(route: Route) -> None:
        if route.request.method == "PUT":
            lost_once(route)
        elif len(ranges) == 2:
            asked_again.append(route)  # The answer clears the page's connection message.
        else:
            route.continue_()

    page.route(lambda address: "/api/uploads/" in address, routed)
    page.goto(f"{page.url}data")
    page.locator("#d-file").set_input_files(tmp_path / "rows.jsonl")
    page.get_by_role("button", name="Add").click()
    page.locator("#lost", has_text="Connection lost").wait_for()
    while not asked_again:
        page.wait_for_timeout(20)
    asked_again[0].continue_()
    page.locator("#sent", has_text="8 of").wait_for()
    page.locator("#lost").wait_for(state="hidden")
    while len(ranges) < 4:  # The number is shown before the request is here.
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Pause").click()
    half = page.locator("#halves .row")
    half.wait_for()
    page.wait_for_load_state()  # Wait for the script, which sends the file in parts.
    assert "rows.jsonl 8.0 MiB of" in half.inner_text()
    page.unroute_all()
    resumed: list[str] = []
    page.on("request", lambda sent: resumed.append(sent.headers["content-range"]) if sent.method == "PUT" else None)
    page.locator("#d-file").set_input_files(tmp_path / "rows.jsonl")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("heading", name="rows.jsonl").wait_for()
    assert [span.partition("-")[0] for span in ranges] == ["bytes 0", *[f"bytes {PART}"] * 2, f"bytes {2 * PART}"]
    assert resumed == [f"bytes {2 * PART}-{len(content) - 1}/{len(content)}"]
    kept = (tmp_path / "runs" / ".console" / "files" / "rows.jsonl").read_bytes()
    assert hashlib.sha256(kept).digest() == hashlib.sha256(content).digest()
    assert page.locator("#halves").count() == 0
    page.close()
