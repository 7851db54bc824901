"""Turns the events of a stream into writes: split, joined, slow, with other line ends, with comments, compressed.

Rules:
- A chunk is stamped at the write of its last byte. A comment is not a chunk; only its bytes count. Where the dialect has an
  event for it (`ping`), that event is a chunk.
- Order is kept: a chunk that trickles delays the chunks after it.
- Bytes are counted as written, after compression.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mockserver.dialect.frames import Event
from mockserver.faults import BYTE_FAULTS, FAULTS, Fault
from mockserver.replies.wire import Headers, Wire

_HERE = frozenset(name for name in BYTE_FAULTS if not FAULTS[name].strikes) - {"keepalive"}
"""The faults that apply to every write: a keep-alive strikes when it is sent."""
_COMMENT = b": comment\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"


class Timer(Protocol):
    """The part of `pacing.Pacer` that `trickle` needs."""

    @property
    def now_ns(self) -> Callable[[], int]: ...

    def at(self, deadline_ns: int, call: Callable[[], None]) -> None:
        """Make `call` at that instant."""


@dataclass(frozen=True, slots=True)
class LedgerChunk:
    """A chunk as the ledger records it."""

    kind: str
    tokens: int
    choice: int | None = None
    """None for a chunk of the whole reply: usage, the end."""


@dataclass(frozen=True, slots=True)
class _Write:
    data: bytes
    chunks: tuple[LedgerChunk, ...]
    """The chunks that end with this write."""
    final: bool


class Outgoing:
    """Writes one stream. It calls `note(stamp_ns, chunks, bytes)` after each write and `ended(stamp_ns)` after the last."""

    def __init__(
        self,
        wire: Wire,
        timer: Timer,
        faults: Mapping[str, Fault],
        note: Callable[[int, tuple[LedgerChunk, ...], int], None],
        ended: Callable[[int], None],
        comment: Event | None = None,
    ) -> None:
        """`comment` is an event to send in place of comments."""
        self._wire = wire
        self._timer = timer
        self._note = note
        self._ended = ended
        self.names = tuple(name for name in faults if name in _HERE)
        """The faults of this stream that apply to every write."""
        self._line_end = b"\r\n" if "crlf" in faults else b"\r" if "cr" in faults else b"\n"
        self._comment, self._keep_alive = (_COMMENT, _KEEP_ALIVE) if comment is None else (comment.frame, comment.frame)
        self._of_comment = () if comment is None else (LedgerChunk(comment.kind, 0),)
        """The chunk that a comment is, if it is an event."""
        self._comments = "comments" in faults
        self._zip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if "gzip" in faults else None
        self.headers: Headers = (("content-encoding", "gzip"),) if "gzip" in faults else ()
        slowly = faults.get("trickle")
        pieces = faults.get("split") or slowly
        self._pieces = 1 if pieces is None else pieces.number("pieces")
        self._gap_ns = 0 if slowly is None else slowly.number("gap")
        together = faults.get("coalesce")
        self._together = 1 if together is None else together.number("chunks")
        self._held: list[tuple[bytes, tuple[LedgerChunk, ...]]] = []
        self._writes: deque[_Write] = deque()
        self._next_ns = 0
        self._waiting = False
        self.last_ns = 0
        """When the last write happened; 0 before the first."""

    def put(self, frame: bytes, chunk: LedgerChunk, *, final: bool = False, cut: int | None = None) -> None:
        """Send one event. `final` ends the stream with it. `cut` puts its first `cut` bytes into their own write."""
        chunks: tuple[LedgerChunk, ...] = (chunk,)
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
            chunks = tuple(chunk for _, held in self._held for chunk in held)
            self._held = []
        self._queue(self.encode(frame, final), chunks, final, cut)

    def keep_alive(self) -> None:
        """Send a comment alone."""
        self._queue(self.encode(self._keep_alive, final=False), self._of_comment, final=False, cut=None)

    def close(self) -> None:
        """End the stream without another event."""
        held, self._held = self._held, []
        data = self.encode(b"".join(frame for frame, _ in held), final=True)
        self._queue(data, tuple(chunk for _, chunks in held for chunk in chunks), final=True, cut=None)

    def drop(self) -> None:
        """Drop what has not been written."""
        self._held = []
        self._writes.clear()

    def encode(self, frame: bytes, final: bool) -> bytes:
        """The bytes that an event becomes."""
        if self._line_end != b"\n":
            frame = frame.replace(b"\n", self._line_end)
        if self._zip is None:
            return frame
        return self._zip.compress(frame) + self._zip.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)

    def _queue(self, data: bytes, chunks: tuple[LedgerChunk, ...], final: bool, cut: int | None) -> None:
        if cut is not None:
            cut = min(cut, len(data) - 1)
            parts = [data[:cut], data[cut:]]
        else:
            size = max(1, -(-len(data) // self._pieces))
            parts = [data[i : i + size] for i in range(0, len(data), size)] or [data]
        self._writes += [_Write(part, (), False) for part in parts[:-1]]
        self._writes.append(_Write(parts[-1], chunks, final))
        if not self._waiting:
            self._pump()

    def _pump(self) -> None:
        """Write what is due. `trickle` waits for the gap, counted from when the last piece was due."""
        due, self._waiting = self._waiting, False
        while self._writes:
            if self._gap_ns and not due:
                now = self._timer.now_ns()
                if now < self._next_ns:
                    self._waiting = True
                    self._timer.at(self._next_ns, self._pump)
                    return
                self._next_ns = now
            due = False
            self._next_ns += self._gap_ns
            write = self._writes.popleft()
            stamp_ns = self._wire.finish(write.data) if write.final else self._wire.write(write.data)
            if stamp_ns is None:
                self.drop()
                return
            self.last_ns = stamp_ns
            self._note(stamp_ns, write.chunks, len(write.data))
            if write.final:
                self._ended(stamp_ns)
