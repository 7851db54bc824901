"""Requests one by one: the slowest, and those that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.documents.formatting import NOTHING, number, seconds

if TYPE_CHECKING:
    from bench.metrics.chosen_requests import ShownRequest
    from bench.metrics.page_data import PageData

SHOWN = 20
_ERROR_WIDTH = 200


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request: its id, (column, value) pairs, and its error."""

    id: str
    cells: tuple[tuple[str, str], ...]
    error: str = ""


def _sizes(row: ShownRequest, tokens: bool | None) -> tuple[tuple[str, str], ...]:
    """The sizes of a request and its reply."""
    if tokens:
        return ("Prompt tokens", number(row.input_tokens)), ("Output tokens", number(row.output_tokens))
    if tokens is None:
        return ()
    return ("Inputs", number(row.inputs)), ("Input tokens", number(row.input_tokens))


def slowest(page: PageData | None, *, tokens: bool | None = True) -> list[RequestRow]:
    """The slowest requests, the slowest first. `tokens` is None if no tokens are counted, and True if replies are
    generated text."""
    return [
        RequestRow(
            row.id,
            (
                ("Sent", seconds(row.sent_s)),
                ("E2EL ms", number(row.e2el_ms)),
                *([("TTFT ms", number(row.ttft_ms)), ("TPOT ms", number(row.tpot_ms))] if tokens else ()),
                *_sizes(row, tokens),
            ),
        )
        for row in ([] if page is None else page.requests.slowest[:SHOWN])
    ]


def failed(page: PageData | None, *, tokens: bool | None = True) -> list[RequestRow]:
    """The first requests that failed."""
    return [
        RequestRow(
            row.id,
            (
                ("Outcome", row.outcome),
                ("Status", NOTHING if row.status is None else str(row.status)),
                ("Sent", seconds(row.sent_s)),
                ("Ended", seconds(row.end_s)),
                *_sizes(row, tokens),
            ),
            (row.error or "")[:_ERROR_WIDTH],
        )
        for row in ([] if page is None else page.requests.failed[:SHOWN])
    ]
