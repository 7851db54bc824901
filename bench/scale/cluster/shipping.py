"""A shard on its way from a node to the driver: whole lines in pieces of bounded size, their times on the driver's
clock."""

from __future__ import annotations

from typing import Any

import orjson

_INSTANTS = frozenset({"intended_ns", "eligible_ns", "sent_ns", "resent_ns", "first_byte_ns", "end_ns", "t_ns"})
_LISTS = frozenset({"chunk_ns", "chunk_bound_ns", "pause_ns"})
"""Lists of instants. In samples `pause_ns` is such a list; in records it is a duration, not a list."""


def on_driver_clock(lines: bytes, offset_ns: int) -> bytes:
    """Shift every instant in whole lines of records or samples; durations, and so latencies, are unchanged."""
    if offset_ns == 0:
        return lines
    moved = []
    for line in lines.splitlines():
        row: dict[str, Any] = orjson.loads(line)
        for key, value in row.items():
            if key in _INSTANTS and value is not None:
                row[key] = value + offset_ns
            elif key in _LISTS and isinstance(value, list):
                row[key] = [None if at is None else at + offset_ns for at in value]
        moved.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(moved)
