"""The report of replies that call tools: on a terminal and on the page, and nothing without tool calls."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bench.metrics.page_data import PageData
from tests.support.made_records import made_record
from tests.support.made_summary import made_page
from tests.support.rendered import run_page, run_text


def _page(calls: tuple[int, ...]) -> tuple[Any, PageData]:
    records = [
        made_record(
            index, sent_ms=10.0 * index, chunks_ms=(50.0, 55.0, 60.0), kinds="fff" if calls else "ccc", tool_calls=calls
        )
        for index, calls in enumerate(calls)
    ]
    return made_page(records)


@pytest.mark.parametrize(
    ("calls", "said"),
    [((1, 1, 0), "2 of 3 replies call tools"), ((1, 3), "2 of 2 replies call tools · 2 calls each on average")],
)
def test_the_terminal_and_the_page_say_how_many_replies_call_tools(calls: tuple[int, ...], said: str) -> None:
    page = _page(calls)
    shown = run_text(page[0])
    assert re.search(rf"Tool calls +{re.escape(said)}\n", shown)
    assert "Tokens by kind " in shown
    assert re.search(rf">{re.escape(said)}<", run_page(*page))


def test_nothing_is_said_of_tools_where_none_was_called() -> None:
    shown = run_text(_page((0, 0))[0])
    assert "tool" not in shown.partition("other tools")[0].partition("calibrate")[0]
    assert "Tokens by kind" not in shown
