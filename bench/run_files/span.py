"""From when to when the records of a run reach, held against what else is known of the time of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.records import RequestRecord

if TYPE_CHECKING:
    from bench.run_files.record_blocks import PlainBlock

WITHIN_NS = 10_000_000_000
"""How far records may reach beyond the run: clocks of nodes differ, and the last sample is written when all have ended."""


class Span:
    """Add every record."""

    def __init__(self) -> None:
        self._first: tuple[int, str] | None = None
        self._last: tuple[int, str] | None = None

    def add(self, read: PlainBlock | RequestRecord) -> None:
        """A record, or many at once."""
        if isinstance(read, RequestRecord):
            self._extend(read.intended_ns, read.id, read.end_ns, read.id)
            return
        due_ns, ids = read.ints("intended_ns"), read.column("id")
        first, last = int(due_ns.argmin()), int(read.end_ns.argmax())
        self._extend(int(due_ns[first]), ids[first], int(read.end_ns[last]), ids[last])

    def _extend(self, due_ns: int, first_id: str, end_ns: int, last_id: str) -> None:
        if self._first is None or due_ns < self._first[0]:
            self._first = due_ns, first_id
        if self._last is None or end_ns > self._last[0]:
            self._last = end_ns, last_id

    def outside(self, start_ns: int | None, end_ns: int | None) -> str | None:
        """A sentence about a record outside a run from `start_ns` to `end_ns` (None: not known); None if there is none."""
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
