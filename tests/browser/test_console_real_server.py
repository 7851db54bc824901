"""The newcomer's walk with a third-party server, llama.cpp's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import from_template_to_deletion, opened, submit
from tests.support.real_servers import llama_cpp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("xllamacpp", reason="the extra `real` is not installed")
pytest.importorskip("gguf", reason="the extra `real` is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextmanager
def saved_and_probed(browser: Browser, url: str) -> Iterator[Page]:
    """The task list, after adding llama.cpp's server as a target and a successful probe. No page reports errors."""
    with llama_cpp() as server:
        page, complaints = opened(browser, url)
        page.get_by_role("link", name="Targets").click()
        page.locator("[name=name]").fill("lab")
        page.locator("[name=url]").fill(server)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Probe").click()
        page.get_by_role("status").filter(has_text="lab: it answers, with the model ").wait_for()
        page.get_by_role("link", name="Tasks", exact=True).click()
        page.wait_for_url(re.compile("/$"))
        assert server in page.locator(".welcome").inner_text()
        yield page
        assert server.removeprefix("http://") in page.locator("tbody tr").inner_text()
        assert complaints == []
        page.close()


def test_a_newcomer_adds_a_server_probes_it_and_measures_it(browser: Browser, url: str) -> None:
    with saved_and_probed(browser, url) as page:
        page.goto(f"{page.url}new?template=concurrency")
        submit(page, "Short", concurrency="2", duration="", warmup="", requests="4", output_tokens="4")
        report = page.frame_locator("iframe.report")
        report.get_by_role("heading", name=re.compile("Charts")).first.wait_for()
        # The server's own metrics are read, too.
        report.get_by_role("heading", name="Inside the server", exact=True).wait_for()
        page.get_by_role("link", name="Tasks", exact=True).click()
        page.wait_for_url(re.compile("/$"))


@pytest.mark.long
def test_a_newcomer_watches_a_server_that_is_not_ours(browser: Browser, url: str, tmp_path: Path) -> None:
    """tests/browser/test_console.py takes the same walk with the mock."""
    with saved_and_probed(browser, url) as page:
        from_template_to_deletion(page, tmp_path / "runs")
