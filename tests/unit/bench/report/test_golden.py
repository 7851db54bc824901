"""What a small fixed run looks like, in full: review the diff of these files as you would review the code."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from bench.report import html, text
from tests.support.golden_run import golden_page_data, golden_summary

Golden = Callable[[str, str], None]


def test_the_summary_is_the_golden_one(golden: Golden) -> None:
    lines = orjson.dumps(golden_summary(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    golden("summary.json", lines.decode())


def test_the_text_is_the_golden_one(golden: Golden) -> None:
    golden("report.txt", text.render(golden_summary()))


def test_the_page_is_the_golden_one(golden: Golden) -> None:
    golden("report.html", html.render(golden_summary(), golden_page_data()))
