"""Records made by hand: a request of `n` tokens, with times in ms and neutral defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records import Outcome, RequestRecord

MS = 1_000_000
START_NS = 7_000_000_000_000
"""Zero of the times below: a CLOCK_MONOTONIC instant, odd on purpose."""


def made_record(
    index: int = 0,
    *,
    sent_ms: float = 0.0,
    chunks_ms: Sequence[float] = (50.0, 60.0, 70.0),
    kinds: str | None = None,
    tokens: Sequence[int] | None = (),
    n: int | None = None,
    outcome: Outcome = Outcome.OK,
    **fields: Any,
) -> RequestRecord:
    """A record sent at `sent_ms`, with chunks at these times after it.

    `kinds` defaults to content, `tokens` to one per token chunk (None: unknown), `n` to their sum.
    """
    sent = round(START_NS + sent_ms * MS)
    kinds = "c" * len(chunks_ms) if kinds is None else kinds
    chunk_tokens = tuple(int(kind in "ctf") for kind in kinds) if tokens == () else tokens
    if n is None:
        n = sum(kind in "ctf" for kind in kinds) if chunk_tokens is None else sum(chunk_tokens)
    chunk_ns = tuple(round(sent + ms * MS) for ms in chunks_ms)
    defaults: dict[str, Any] = {
        "id": f"made-{index}",
        "phase": "run",
        "intended_ns": sent,
        "eligible_ns": sent,
        "connect_ns": 0,
        "sent_ns": sent,
        "first_byte_ns": chunk_ns[0] if chunk_ns else None,
        "end_ns": chunk_ns[-1] if chunk_ns else sent + MS,
        "attempts": 1,
        "status": 200 if outcome is Outcome.OK else None,
        "output_tokens": n,
        "output_tokens_from": "usage",
        "input_tokens": 100,
        "bytes_sent": 500,
        "bytes_received": 200 * len(chunk_ns),
    }
    return RequestRecord(
        index=index,
        outcome=outcome,
        chunk_ns=chunk_ns,
        chunk_kind=kinds,
        chunk_tokens=None if chunk_tokens is None else tuple(chunk_tokens),
        **(defaults | fields),
    )
