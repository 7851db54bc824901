"""A page whose console dies reports it, and after a restart asks for the token in place."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.console_process import TOKEN
from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@contextlib.contextmanager
def console_at(runs: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = ["--no-browser", "--runs", str(runs), "--port", str(port), "--token", TOKEN]
    with popen([sys.executable, "-m", "bench", "console", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().removeprefix("console ready at ").strip()
        finally:
            process.kill()


@pytest.fixture
def port() -> Iterator[int]:
    """The port of both consoles, kept reserved in between."""
    with held_port() as held:
        yield held


def test_a_page_says_that_the_connection_is_lost_and_asks_for_the_token_after_a_restart(
    browser: Browser, tmp_path: Path, port: int
) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_S * 1000)
    page, other = context.new_page(), context.new_page()
    with console_at(tmp_path, port) as (first, base):
        new = {"settings": {"url": "http://127.0.0.1:9"}, "title": "waits", "start_at": "2999-01-01T00:00"}
        bearer = {"authorization": f"Bearer {TOKEN}"}
        task = httpx.post(f"{base}/api/tasks", json=new, headers=bearer, timeout=PATIENCE_S).json()["id"]
        page.goto(f"{base}/tasks/{task}?token={TOKEN}")
        page.wait_for_url(re.compile(f"/tasks/{task}$"))
        other.goto(f"{base}/")
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=PATIENCE_S)
    for there in (page, other):
        there.locator("#lost", has_text="Connection lost").wait_for()
    with console_at(tmp_path, port) as (_, again):
        assert again == base
        field = page.locator("#lost input[name=token]")
        field.wait_for()
        field.fill("not-this-one-at-all")
        page.get_by_role("button", name="Open").click()
        page.locator("#lost", has_text="That is not its token").wait_for()
        field.fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.locator("#lost input[name=token]").wait_for(state="detached")
        page.locator("#badge", has_text="queued").wait_for()
        # The other page has the new cookie, too, and continues by itself.
        other.locator("#lost").wait_for(state="hidden")
        # A click on a page from an earlier console leads to a field for the token, and back.
        context.clear_cookies()
        page.get_by_role("button", name="Stop").first.click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.locator("[name=token]").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.wait_for_url(re.compile(f"/tasks/{task}$"))
        page.locator("#badge", has_text="queued").wait_for()
    context.close()
