"""Server-sent events, sans-IO: bytes in, the data of whole events out.

Rules (WHATWG HTML, "Event stream interpretation"): a line ends at LF, CR or CRLF and at nothing else (U+2028 inside a
text is text); a line that begins with a colon is a comment; several `data` lines of one event join with LF; an empty
line ends the event; an event without data is none. A byte order mark at the start is skipped. Works on bytes: a text
split inside a UTF-8 sequence is never decoded half.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SSEParser:
    """Feed it the body as it comes; it returns the data of each event that the bytes complete."""

    __slots__ = ("_buffer", "_data", "_skip_lf", "_started")

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._skip_lf = False
        self._started = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event whose last byte is in `piece`, in order."""
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
        data = self._data
        for line in lines:
            if not line:
                if data:
                    if event := data[0] if len(data) == 1 else b"\n".join(data):
                        events.append(event)
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                data.append(b"")
        return events

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        """`feed` of each piece. Where each is one whole plain event, as servers mostly write them, all at once."""
        if len(pieces) > 1 and not self._buffer and not self._data and not self._skip_lf:
            whole = b"".join(pieces)
            events = whole[6:-2].split(b"\n\ndata: ")
            if (
                len(events) == len(pieces)
                and whole.startswith(b"data: ")
                and whole.endswith(b"\n\n")
                and whole.count(b"\n") == 2 * len(pieces)
                and b"\r" not in whole
                # The borders of the events are those of the pieces: "data: " before, a blank line behind.
                and [len(piece) for piece in pieces] == [len(event) + 8 for event in events]
                and b"" not in events
            ):
                self._started = True
                return [[event] for event in events]
        return [self.feed(piece) for piece in pieces]

    @property
    def unfinished(self) -> bytes:
        """Bytes of an event that has not ended: not empty at the end of a stream that was cut in mid-frame."""
        return b"\n".join([*self._data, self._buffer]) if self._data else self._buffer
