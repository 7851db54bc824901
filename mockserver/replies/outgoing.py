"""Turns the events of a stream into lines: split, joined, slow, with other line ends, with comments, compressed.

Rules:
- A chunk belongs to the line with its last byte. A comment is not a chunk; only its bytes count. If the dialect has an event
  for it (`ping`), that event is a chunk.
- Order is preserved: a chunk that trickles delays the chunks after it.
- Bytes are counted as sent, after compression.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from mockserver.dialect.frames import Event
from mockserver.faults import BYTE_FAULTS, FAULTS, Fault
from mockserver.replies.script import Act, LedgerChunk, Line
from mockserver.replies.wire import Headers

_RECEIVED = frozenset(name for name in BYTE_FAULTS if not FAULTS[name].strikes) - {"keepalive"}
"""The faults that apply to every write. A keep-alive strikes when it is sent."""


class Outgoing:
    """Makes the lines of one stream."""

    names: tuple[str, ...] = ()
    """The faults of this stream that apply to every write."""
    headers: Headers = ()
    _line_end = b"\n"
    _comment, _keep_alive = b": comment\n\n", b": keep-alive\n\n"
    _of_comment: tuple[LedgerChunk, ...] = ()
    """The chunk of a comment, if it is an event."""
    _zip: Any = None  # Its class has no public name.
    _comments = False
    _pieces = _together = 1
    _gap_ns = _next_ns = 0

    def __init__(self, now_ns: Callable[[], int], faults: Mapping[str, Fault], comment: Event | None = None) -> None:
        """`comment` is an event to send instead of comments."""
        self._lines: list[Line] = []
        self._held: list[tuple[bytes, tuple[LedgerChunk, ...]]] = []
        self._is_plain = not (faults and faults.keys() & BYTE_FAULTS)
        if self._is_plain:  # The usual case.
            return
        self._now_ns = now_ns
        self.names = tuple(name for name in faults if name in _RECEIVED)
        self._line_end = b"\r\n" if "crlf" in faults else b"\r" if "cr" in faults else b"\n"
        if comment is not None:
            self._comment = self._keep_alive = comment.frame
            self._of_comment = (LedgerChunk(comment.kind, 0),)
        self._comments = "comments" in faults
        if "gzip" in faults:
            self._zip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
            self.headers = (("content-encoding", "gzip"),)
        slowly = faults.get("trickle")
        pieces = faults.get("split") or slowly
        self._pieces = 1 if pieces is None else pieces.number("pieces")
        self._gap_ns = 0 if slowly is None else slowly.number("gap")
        together = faults.get("coalesce")
        self._together = 1 if together is None else together.number("chunks")

    def take(self) -> list[Line]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def put(self, frame: bytes, chunk: LedgerChunk, *, final: bool = False, cut: int | None = None) -> None:
        """Send one event. `final` ends the stream with it. `cut` puts its first `cut` bytes into a separate write."""
        chunks: tuple[LedgerChunk, ...] = (chunk,)
        if self._is_plain:
            self._lines.append(Line(Act.END if final else Act.EVENT, frame, chunks))
            return
        if self._comments:
            frame = self._comment + frame
            chunks = (*self._of_comment, chunk)
            cut = None if cut is None else cut + len(self._comment)
        if cut is not None:  # Longer line ends lengthen the part before the cut.
            cut += frame.count(b"\n", 0, cut) * (len(self._line_end) - 1)
        if self._together > 1 or self._held:
            self._held.append((frame, chunks))
            if len(self._held) < self._together and not final:
                return
            frame = b"".join(frame for frame, _ in self._held)
            chunks = tuple(chunk for _, group in self._held for chunk in group)
            self._held = []
        self._queue(self.encode(frame, final), chunks, final, cut)

    def keep_alive(self) -> None:
        """Send a separate comment."""
        self._queue(self.encode(self._keep_alive, final=False), self._of_comment, final=False, cut=None)

    def close(self) -> None:
        """End the stream without another event."""
        events, self._held = self._held, []
        data = self.encode(b"".join(frame for frame, _ in events), final=True)
        self._queue(data, tuple(chunk for _, chunks in events for chunk in chunks), final=True, cut=None)

    def break_off(self, act: Act, data: bytes = b"", keep: int = 0) -> None:
        """End the stream abnormally."""
        self._held = []
        self._lines.append(Line(act, data, keep=keep))

    def encode(self, frame: bytes, final: bool) -> bytes:
        """The encoded bytes of an event."""
        if self._line_end != b"\n":
            frame = frame.replace(b"\n", self._line_end)
        if self._zip is None:
            return frame
        packed: bytes = self._zip.compress(frame) + self._zip.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)
        return packed

    def _queue(self, data: bytes, chunks: tuple[LedgerChunk, ...], final: bool, cut: int | None) -> None:
        if cut is not None:
            cut = min(cut, len(data) - 1)
            parts = [data[:cut], data[cut:]]
        else:
            size = max(1, -(-len(data) // self._pieces))
            parts = [data[i : i + size] for i in range(0, len(data), size)] or [data]
        for part in parts[:-1]:
            self._lines.append(Line(Act.EVENT, part, due_ns=self._due_ns()))
        self._lines.append(Line(Act.END if final else Act.EVENT, parts[-1], chunks, self._due_ns()))

    def _due_ns(self) -> int:
        """When the next line is due. `trickle` waits for the gap, counted from the due time of the previous line."""
        if not self._gap_ns:
            return 0
        due_ns = max(self._now_ns(), self._next_ns)
        self._next_ns = due_ns + self._gap_ns
        return due_ns
