"""What came of the requests whose users left: neither latencies nor failures, and a load on the server all the same."""

from __future__ import annotations

from typing import Any

from bench.metrics.per_request import NS_PER_MS, token_chunk_count
from bench.metrics.quantile import describe
from bench.records import Outcome, RequestRecord


class Cancelled:
    """Counts the requests that were cancelled."""

    def __init__(self) -> None:
        self._after_ms: list[float] = []
        self._answered = self._chunks = self._bytes = 0

    def add(self, record: RequestRecord) -> None:
        """One record; of no other outcome is anything kept."""
        if record.outcome is not Outcome.CANCELLED or record.sent_ns is None:
            return
        chunks = token_chunk_count(record)
        self._after_ms.append((record.end_ns - record.sent_ns) / NS_PER_MS)
        self._answered += chunks > 0
        self._chunks += chunks
        self._bytes += record.bytes_received

    def describe(self, duration_s: float | None) -> dict[str, Any]:
        """`cancelled` of a summary, where there are such requests."""
        if not self._after_ms:
            return {}
        return {
            "cancelled": {
                "requests": len(self._after_ms),
                "with_tokens": self._answered,
                "token_chunks": self._chunks,
                "token_chunks_per_s": self._chunks / duration_s if duration_s else None,
                "bytes_received": self._bytes,
                "after_ms": describe(sorted(self._after_ms)),
            }
        }
