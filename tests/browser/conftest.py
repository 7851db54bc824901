"""Chromium for the browser tests, and helpers that open a page."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import ARGS, browser_path
from tests.support.console_process import READ_TOKEN
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.rendered import run_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LAUNCHED = pytest.StashKey["tuple[contextlib.ExitStack, Browser]"]()


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Browser:
    """The system's Chromium, one for all tests in this folder. If it is missing, the test is skipped, or fails if
    TRUELOAD_BROWSER_REQUIRED is set."""
    stash = request.session.stash
    if LAUNCHED not in stash:
        stash[LAUNCHED] = launched()
        request.session.addfinalizer(partial(close, request.session))
    return stash[LAUNCHED][1]


def launched() -> tuple[contextlib.ExitStack, Browser]:
    """A browser, and the stack that closes it."""
    chromium = browser_path()
    lacks = "playwright" if importlib.util.find_spec("playwright") is None else "chromium" if chromium is None else None
    if lacks is not None and os.environ.get("TRUELOAD_BROWSER_REQUIRED"):
        pytest.fail(f"{lacks} is missing, and TRUELOAD_BROWSER_REQUIRED is set")
    if lacks is not None:
        pytest.skip(f"needs {lacks}")
    from playwright import sync_api

    sync_api.expect.set_options(timeout=PATIENCE_S * 1000)
    with contextlib.ExitStack() as stack:
        playwright = stack.enter_context(sync_api.sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGS), timeout=PATIENCE_S * 1000)
        stack.callback(browser.close)
        return stack.pop_all(), browser


def close(session: pytest.Session) -> None:
    """Close the browser, if there is one."""
    if LAUNCHED in session.stash:
        session.stash[LAUNCHED][0].close()
        del session.stash[LAUNCHED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Close the browser first: its event loop runs in this thread until then, and tests in other folders run their own."""
    yield
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        close(item.session)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the golden run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(run_page(golden_summary(), golden_page_data()), encoding="utf-8")
    return path


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL that a console prints."""
    command = [
        sys.executable,
        "-m",
        "bench",
        "console",
        "--no-browser",
        "--port",
        "0",
        "--runs",
        str(tmp_path / "runs"),
    ]
    env = {name: value for name, value in os.environ.items() if name != "TRUELOAD_TOKEN"}
    env["TRUELOAD_READ_TOKEN"] = READ_TOKEN
    with popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("console ready at ").strip()
            process.terminate()
            assert process.wait(timeout=PATIENCE_S) == 0
        finally:
            process.kill()
