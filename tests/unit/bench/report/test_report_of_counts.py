"""The report when token counts or sends are wrong, on a terminal and on the page."""

from __future__ import annotations

import pytest

from bench.records import RequestRecord
from tests.support.made_records import made_record
from tests.support.made_summary import made_page
from tests.support.rendered import run_page, run_text

USUAL = made_record(0, output_tokens_asked=3)
OTHER: list[tuple[str, RequestRecord, str, str]] = [
    (
        "chunks", made_record(1, sent_ms=10, output_tokens_from="chunks"),
        "Tokens counted 1 of 2 replies by their chunks, one token each",
        "1 of 2 replies by their chunks, one token each",
    ),
    (
        "limit", made_record(1, sent_ms=10, output_tokens_from="limit", output_tokens_doubt="4 of 16"),
        "Tokens counted 1 of 2 replies by the limit of tokens at which they ended",
        "1 of 2 replies; the first: 4 of 16",
    ),
    (
        "over", made_record(1, sent_ms=10, output_tokens_asked=2),
        "Over max_tokens 1 of 2 replies have more tokens than requested",
        "1 of 2 replies have more tokens than requested",
    ),
    ("again", made_record(1, sent_ms=10, attempts=2), "Sent again 1", ">Sent again<"),
]  # fmt: skip


@pytest.fixture(scope="module")
def usual() -> tuple[str, str]:
    """The terminal and the page when there is nothing to report."""
    page = made_page([USUAL, made_record(1, sent_ms=10, output_tokens_asked=3)])
    return run_text(page[0]), run_page(*page)


@pytest.mark.parametrize(("what", "other", "line", "cell"), OTHER, ids=[row[0] for row in OTHER])
def test_the_terminal_and_the_page_say_it(
    what: str, other: RequestRecord, line: str, cell: str, usual: tuple[str, str]
) -> None:
    page = made_page([USUAL, other])
    assert line in " ".join(run_text(page[0]).split())
    assert line not in " ".join(usual[0].split())
    assert cell in run_page(*page)
    assert cell not in usual[1]
