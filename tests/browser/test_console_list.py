"""A task list with a running task: its rows are refreshed (all of them if the list has changed), and user input stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.console_walk import opened, submit
from tests.support.made_tasks import made_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_list_asks_for_the_rows_that_move_and_for_all_when_a_task_has_come(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    made_run(tmp_path / "runs", "20261125T150000-old")
    page, complaints = opened(browser, url)
    base = page.url
    page.goto(f"{base}new?template=concurrency")
    page.locator("[name=start_at]").fill("2999-01-01T18:00")
    submit(page, "Late", url="http://127.0.0.1:9")
    page.wait_for_url(re.compile("/tasks/"))
    waiting = page.url.rpartition("/")[2]
    page.goto(base)
    old = page.locator("tbody tr", has_text="old").get_by_role("checkbox")
    old.check()
    page.evaluate("document.querySelector('tbody tr:not(.going-on *)').dataset.kept = 'yes'")
    page.locator("tbody tr", has_text="Late").locator(".dots").focus()
    with page.expect_response(lambda reply: "only=" in reply.url) as asked:
        pass
    assert asked.value.url == f"{base}?only={waiting}"
    # The reply has only the running task, and only its row is replaced.
    assert "20261125T150000-old" not in asked.value.text()
    made_run(tmp_path / "runs", "20261125T150001-new")
    page.locator("tbody tr", has_text="150001-new").wait_for()
    assert page.locator("[data-kept]").count() == 0
    assert old.is_checked()
    assert page.evaluate("document.activeElement.ariaLabel") == "Actions: Late"
    assert complaints == []
    page.close()
