"""The full output for a small fixed run. Review diffs of these files like code."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from bench.documents.document import Level
from tests.support.golden_run import golden_page_data, golden_summary
from tests.support.rendered import run_page, run_text

Golden = Callable[[str, str], None]


def test_the_summary_is_the_golden_one(golden: Golden) -> None:
    lines = orjson.dumps(golden_summary(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    golden("summary.json", lines.decode())


def test_the_text_is_the_golden_one(golden: Golden) -> None:
    golden("report.txt", run_text(golden_summary()))


def test_the_first_screen_is_the_golden_one(golden: Golden) -> None:
    golden("first_screen.txt", run_text(golden_summary(), level=Level.FIRST, width=80))


def test_the_page_is_the_golden_one(golden: Golden) -> None:
    golden("report.html", run_page(golden_summary(), golden_page_data()))
