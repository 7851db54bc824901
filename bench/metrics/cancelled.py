"""Requests whose users left: neither latencies nor failures, but still a load on the server."""

from __future__ import annotations

from bench.clock import NS_PER_MS
from bench.metrics.quantile import describe
from bench.records.record_table import CANCELLED, RecordTable
from bench.results.sessions import CancelledRequests


class Cancelled:
    """Counts the cancelled requests."""

    def __init__(self) -> None:
        self._after_ms: list[float] = []
        self._answered = self._chunks = self._bytes = 0

    def add(self, table: RecordTable) -> None:
        """Add records; only cancelled requests are counted."""
        has_sent, sent_ns = table.known("sent_ns")
        rows = (table.outcome == CANCELLED) & has_sent
        chunks = table.token_chunks.counts[rows]
        self._after_ms += ((table.ints("end_ns") - sent_ns)[rows] / NS_PER_MS).tolist()
        self._answered += int((chunks > 0).sum())
        self._chunks += int(chunks.sum())
        self._bytes += int(table.ints("bytes_received")[rows].sum())

    def describe(self, duration_s: float | None) -> CancelledRequests | None:
        """Returns None if there are no such requests."""
        if not self._after_ms:
            return None
        return CancelledRequests(
            requests=len(self._after_ms),
            with_tokens=self._answered,
            token_chunks=self._chunks,
            token_chunks_per_s=self._chunks / duration_s if duration_s else None,
            bytes_received=self._bytes,
            after_ms=describe(sorted(self._after_ms)),
        )
