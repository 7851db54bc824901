"""Streams of lines (NDJSON), sans-IO: bytes in, whole lines out. Only LF ends a line; blank lines are not events.

The last line may lack its LF: if it is JSON, and so known to be complete, `end` leaves it to `take_last`.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from bench.endpoints import decoding
from bench.endpoints.interface import OtherLine
from bench.transport.sse import MAX_EVENT_BYTES


class LineParser:
    """Feed it the body as it comes; each line is an event."""

    __slots__ = ("_last", "_limit", "_pieces", "_size", "too_large")

    other_lines: Sequence[OtherLine] = ()

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._pieces: list[bytes] = []  # of an incomplete line
        self._size = 0
        self._last = b""
        self.too_large = False
        """Whether a line has exceeded the limit: it is dropped, with everything after it."""

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        return [self._feed(piece) for piece in pieces]

    def _feed(self, piece: bytes) -> list[bytes]:
        if self.too_large:
            return []
        first, *more = piece.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        events = []
        if more:
            *whole, rest = more
            events = [line for line in (b"".join(self._pieces), *whole) if line.strip()]
            self._pieces, self._size = [rest], len(rest)
        if self._size > self._limit:
            self.too_large, self._pieces = True, []
        return events

    def take_other_lines(self) -> list[OtherLine]:
        """Always empty."""
        return []

    def end(self) -> bytes:
        """The stream has ended. Returns the bytes of an incomplete line."""
        rest, self._pieces = b"".join(self._pieces), []
        try:
            decoding.loads(rest)
        except orjson.JSONDecodeError:
            return rest.strip()
        self._last = rest
        return b""

    def take_last(self) -> list[bytes]:
        """The last line, if it is complete and lacks its LF."""
        last, self._last = self._last, b""
        return [last] if last else []
