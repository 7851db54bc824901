"""The newcomer's walk against a server that is not ours: llama.cpp's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import from_template_to_deletion, opened
from tests.support.real_servers import llama_cpp

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("xllamacpp", reason="the extra `real` is not installed")
pytest.importorskip("gguf", reason="the extra `real` is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_newcomer_adds_a_server_probes_it_and_measures_it(browser: Browser, url: str, tmp_path: Path) -> None:
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
        from_template_to_deletion(page, tmp_path / "runs")
        assert server.removeprefix("http://") in page.locator("tbody tr").inner_text()
        assert complaints == []
        page.close()
