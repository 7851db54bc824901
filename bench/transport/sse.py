"""Server-sent events, sans-IO: bytes in, the data of whole events out.

Rules (WHATWG HTML, "Event stream interpretation"): a line ends at LF, CR or CRLF and at nothing else (U+2028 inside a
text is text); a line that begins with a colon is a comment; several `data` lines of one event join with LF; an empty
line ends the event; a block without data is not an event. A byte order mark at the start is skipped. Works on bytes: a
text split inside a UTF-8 sequence is never decoded in halves.

Lines that are neither data nor comments (`event: NAME`, and invalid lines) are collected in `other_lines`: few streams
have any, and the endpoint interprets them. `id` and `retry` do not concern the reply and are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.endpoints.interface import OtherLine

_LINE_END = re.compile(rb"\r\n|\n|\r")
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Large enough for an image in base64; a server that forgets to end its events is detected soon."""

_IGNORED = (b":", b"id:", b"retry:")


class SSEParser:
    """Feed it the body as it comes; it returns the data of each event that the bytes complete."""

    __slots__ = (
        "_block", "_buffer", "_data", "_held", "_limit", "_number", "_size", "_skip_lf", "_started", "other_lines",
        "too_large",
    )  # fmt: skip

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = b""
        self._limit = max_event_bytes
        self._size = 0  # bytes of the incomplete event
        self._held: list[bytes] = []  # data after the buffer, of a very long line
        self._data: list[bytes] = []
        self._block: list[bytes] = []  # the other lines of the incomplete block
        self._number = 0  # of events so far
        self._skip_lf = False
        self._started = False
        self.other_lines: list[OtherLine] = []
        self.too_large = False
        """Whether an event has exceeded the limit: it is dropped, with everything after it."""

    @property
    def between_events(self) -> bool:
        """Whether the next byte begins the first line of an event."""
        begun = self._buffer or self._held or self._data or self._block or self._skip_lf
        return not begun and not self.too_large and not self.other_lines

    def passed(self, events: int) -> None:
        """Count events that were cut elsewhere."""
        self._started = True
        self._number += events

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        """`feed` for each piece. If each is one whole plain event, as most servers write them, all at once."""
        if (events := self._whole_events(pieces)) is not None:
            self._started = True
            self._number += len(events)
            return [[event] for event in events]
        return [self.feed(piece) for piece in pieces]

    def _whole_events(self, pieces: Sequence[bytes]) -> list[bytes] | None:
        """The data of the pieces, if each of them is one event of one line."""
        if len(pieces) < 2 or self._buffer or self._data or self._block or self._skip_lf or self.too_large:
            return None
        whole = b"".join(pieces)
        events = whole[6:-2].split(b"\n\ndata: ")
        if (
            whole.startswith(b"data: ")
            and whole.endswith(b"\n\n")
            and whole.count(b"\n") == 2 * len(pieces)
            and b"\r" not in whole
            # Events and pieces have the same borders: "data: " before, a blank line after.
            and [len(piece) for piece in pieces] == [len(event) + 8 for event in events]
            and b"" not in events
        ):
            return events
        return None

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event whose last byte is in `piece`, in order."""
        if self.too_large:
            return []
        if self._buffer and self._started:
            if b"\n" not in piece and b"\r" not in piece:
                # Joined once, when the line ends: not again for each of a thousand pieces.
                self._held.append(piece)
                self._grow(len(piece))
                return []
            if self._held:
                self._buffer += b"".join(self._held)
                self._held.clear()
        if not self._started:
            piece = self._buffer + piece
            if len(piece) < 3 and b"\xef\xbb\xbf".startswith(piece):
                self._buffer = piece
                return []
            self._buffer = b""
            piece = piece.removeprefix(b"\xef\xbb\xbf")
            self._started = True
        if self._skip_lf and piece:
            # The CR that ended the last line may be the first half of a CRLF.
            piece = piece.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" not in piece:
            lines = (self._buffer + piece).split(b"\n")
        else:
            lines = _LINE_END.split(self._buffer + piece)
            self._skip_lf = piece.endswith(b"\r")
        self._buffer = lines.pop()
        events: list[bytes] = []
        data, block = self._data, self._block
        for line in lines:
            if not line:
                if block:
                    self._end_block(len(events))
                if data:
                    if event := data[0] if len(data) == 1 else b"\n".join(data):
                        events.append(event)
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                data.append(b"")
            elif not line.startswith(_IGNORED):
                block.append(line)
        self._number += len(events)
        if data or self._buffer or block:
            if b"" in lines:
                self._size = 0
            self._grow(len(piece))
        elif self._size:
            self._size = 0
        return events

    def _grow(self, size: int) -> None:
        """The incomplete event has grown by this many bytes: drop it if it is too large."""
        self._size += size
        if self._size > self._limit:
            self.too_large = True
            self._buffer = b""
            self._held.clear()
            self._data.clear()
            self._block.clear()

    def _end_block(self, before: int) -> None:
        """Keep the other lines of a block that ends, with the number of its event; `before`: events before it in the
        current piece."""
        number = self._number + before if b"\n".join(self._data) else None
        self.other_lines += [OtherLine(number, line) for line in self._block]
        self._block.clear()

    def take_other_lines(self) -> list[OtherLine]:
        """The other lines of the blocks that have ended; each is returned once."""
        lines, self.other_lines = self.other_lines, []
        return lines

    def end(self) -> bytes:
        """The stream has ended. Returns the data of the incomplete event, which does not count. Its other lines can be
        taken."""
        block = self.unfinished
        self.feed(b"\n" if self._buffer else b"")
        data = b"\n".join(self._data)
        self._data.clear()
        self._end_block(0)
        return data if data else block

    @property
    def unfinished(self) -> bytes:
        """Bytes of an incomplete event: not empty at the end of a stream that was cut in mid-frame."""
        line = b"".join([self._buffer, *self._held])
        return b"\n".join([*self._data, line]) if self._data else line
