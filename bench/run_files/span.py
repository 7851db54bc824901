"""Compares the times of the records of a run with the times of the run itself."""

from __future__ import annotations

from bench.records.record_table import RecordTable

WITHIN_NS = 10_000_000_000
"""How far records may reach beyond the run: nodes' clocks differ, and the last sample is written after all requests."""


class Span:
    """The time span of all added records."""

    def __init__(self) -> None:
        self._first: tuple[int, str] | None = None
        self._last: tuple[int, str] | None = None

    def add(self, table: RecordTable) -> None:
        """Add records, in any order."""
        due_ns, end_ns = table.ints("intended_ns"), table.ints("end_ns")
        first, last = int(due_ns.argmin()), int(end_ns.argmax())
        self._extend(int(due_ns[first]), table.records[first].id, int(end_ns[last]), table.records[last].id)

    def _extend(self, due_ns: int, first_id: str, end_ns: int, last_id: str) -> None:
        if self._first is None or due_ns < self._first[0]:
            self._first = due_ns, first_id
        if self._last is None or end_ns > self._last[0]:
            self._last = end_ns, last_id

    def outside(self, start_ns: int | None, end_ns: int | None) -> str | None:
        """A sentence about a record outside the run from `start_ns` to `end_ns` (None if unknown); None if there is no
        such record."""
        if self._first is not None and start_ns is not None and self._first[0] < start_ns - WITHIN_NS:
            due_ns, name = self._first
            return (
                f"request {name} was due {(start_ns - due_ns) / 1e9:,.0f} s before the run began: its times are damaged"
            )
        if self._last is not None and end_ns is not None and self._last[0] > end_ns + WITHIN_NS:
            last_ns, name = self._last
            return (
                f"request {name} ended {(last_ns - end_ns) / 1e9:,.0f} s after the run had ended: its times are damaged"
            )
        return None
