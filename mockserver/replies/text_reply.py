"""The fast path for ordinary streams: one function takes the engine's token to the socket.

Most chunks hold one token of text in the middle of a stream, on a connection of our server. `TextReply` sends them
without intermediate calls: it joins prepared parts into a frame, takes the stamp, and the transport writes. Everything
else is sent line by line, as in every `Reply`. If the plan decides the times, the script exists from the start, and the
compiled sender can take it.

Rules:
- The stamp is taken immediately before the transport's `write`. If its buffer is empty, that write is the send(2) of this
  chunk. Bytes that wait before a write also wait after it, so one check after the write detects a blocked chunk.
- Except for the stamps, the ledger's facts about these chunks (kinds, tokens, bytes) follow from their number. They are
  filled in at the next other chunk or at the end. The stamps are allocated at the start, so memory does not grow.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import orjson

from mockserver.clock import now_ns
from mockserver.dialect.frames import Event
from mockserver.dialect.sse import LAST_CHUNK, chunk_around, http_chunk
from mockserver.replies.reply import Reply, Timer
from mockserver.replies.script import Act, LedgerChunk, Line, TextScript
from mockserver.replies.sender import StreamSender
from mockserver.replies.stream import ScriptWriter, StreamWriter
from mockserver.replies.wire import DirectWire, Wire

if TYPE_CHECKING:
    from mockserver.native._sender import Stream

_REMEMBERED = 65_536
_JSON: dict[str, bytes] = {}
"""Pieces of text as JSON. Replies use the same words again and again. Entries are never removed, because a thread reads
them."""


class TextReply(Reply):
    """A stream of only text, on a `DirectWire` that frames HTTP chunks."""

    __slots__ = (
        "_around", "_closing", "_direct", "_due_ns", "_heads", "_noted", "_script", "_sender", "_sent", "_stamps",
        "_stream", "_tail", "_text_writer", "_texts", "_tokens", "_waiting", "_write",
    )  # fmt: skip

    def __init__(
        self,
        wire: DirectWire,
        writer: StreamWriter,
        around: tuple[bytes, bytes],
        timer: Timer,
        on_end: Callable[[Reply], None],
    ) -> None:
        super().__init__(wire, writer, timer, on_end)
        self._direct = wire
        self._text_writer = writer
        self._around = around
        self._texts = writer.content.choices[0].texts
        self._tokens = len(self._texts)
        self._sent = 0
        """The number of tokens sent."""
        self._noted = 0
        """The tokens from here to `_sent` are recorded when something else is sent."""
        self._stamps: array[int] | None = None
        self._heads: dict[int, bytes] = {}
        """The head of a chunk by the length of its text, because a chunk begins with its size."""
        self._tail = b""
        self._script: TextScript | None = None
        self._due_ns = 0
        self._sender: StreamSender | None = None
        self._stream: Stream | None = None
        """The stream on the thread. Do not read it before it is returned."""
        transport = wire.transport
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._closing = transport.is_closing

    @property
    def tokens_out(self) -> int:
        return self._sent

    def tokens_of(self, choice: int) -> int:
        return self._sent

    # The engine decides the times.

    def take(self, tokens: int) -> None:
        i, stop = self._sent, self._sent + tokens
        if self._ended:
            return
        if self._closing():
            self._direct.lost()  # Before these tokens are counted, because they will not be written.
            return
        middle = i > 0 and stop < self._tokens
        if middle and tokens == 1:
            self._send_text(i)
            return
        self._note_texts()
        self._sent = self._noted = stop
        if middle:
            before, after = self._around
            data = before + orjson.dumps("".join(self._texts[i:stop])) + after
            self._add((Line(Act.EVENT, data, (LedgerChunk("c", tokens, 0),)),))
        else:
            self._text_writer.skip(i - self.writer.tokens_out)
            super().take(tokens)

    # The plan decides the times.

    def follow(self, received_ns: int, sender: StreamSender | None) -> None:
        """Send the tokens at the plan's times, after `begin`: on the thread of `sender`, if it can take them."""
        if self._ended:
            return
        script = self._script = self._text_writer.script(received_ns, self._around)
        self._due_ns = script.due_ns
        if script.ends is None:
            self.writer.content.input_count.when_known(self._end_script)
        if sender is None or not self._hand_over(script, sender):
            self._timer.at(script.due_ns, self._step)

    def _end_script(self) -> None:
        """Complete the script when the prompt tokens are counted."""
        script = self._script
        assert script is not None
        script.ends = self._text_writer.closing(usage=True)
        if self._stream is not None and self._sender is not None:
            self._sender.core.end(self._stream, _ends(script.ends))
        elif self._sent == self._tokens and not self._ended:
            self._add(script.end_lines())

    def _step(self) -> int | None:
        """Send one token. Returns the deadline of the next."""
        script, i = self._script, self._sent
        assert script is not None
        if self._ended:
            return None
        if self._closing():
            self._direct.lost()  # Before this token is counted, because it will not be written.
            return None
        if 0 < i < self._tokens - 1:
            self._send_text(i)
        else:
            self._note_texts()
            self._sent = self._noted = i + 1
            self._add(script.lines_of(i))
            if self._sent == self._tokens:
                self._add(script.end_lines())
                return None
        self._due_ns = due_ns = self._due_ns + script.gaps_ns[i]
        return None if self._closing() else due_ns

    # A middle token.

    def _send_text(self, i: int) -> None:
        piece = self._texts[i]
        text = _JSON.get(piece)
        if text is None:
            text = _remember(piece)
        head = self._heads.get(len(text))
        if head is None:
            head, self._tail = chunk_around(*self._around, len(text))
            self._heads[len(text)] = head
        stamps = self._stamps
        if stamps is None:
            stamps = self._stamps = array("q", bytes(8 * self._tokens))
        frame = head + text + self._tail
        stamp_ns = now_ns()
        self._write(frame)
        stamps[i] = stamp_ns
        self._sent = i + 1
        if self._waiting() > 0:
            self.blocked.append(len(self.chunk_tokens) + i - self._noted)

    def _note_texts(self) -> None:
        """Record the chunks that `_send_text` sent."""
        start, stop = self._noted, self._sent
        if start < stop:
            assert self._stamps is not None
            self._noted = stop
            self.write_ns = array("q", self.write_ns) + self._stamps[start:stop]
            self.chunk_tokens += [1] * (stop - start)
            self.chunk_kinds += "c" * (stop - start)
            self.bytes_out += sum(map(len, self._around)) * (stop - start)
            self.bytes_out += sum(len(_remember(piece)) for piece in self._texts[start:stop])

    def _end(self, end_ns: int) -> None:
        if not self._ended:
            self._note_texts()
        super()._end(end_ns)

    # On the thread.

    def _hand_over(self, script: TextScript, sender: StreamSender) -> bool:
        """Hand the script to the thread. Returns False if the thread cannot send it."""
        socket = self._direct.transport.get_extra_info("socket")
        if socket is None or self._closing() or self._waiting():
            return False
        first, last = b"".join(_frames(script.first)), b"".join(_frames(script.last))
        ends = () if script.ends is None else _ends(script.ends)

        def add(known: dict[str, bytes]) -> Stream:
            return sender.core.add(
                self, socket.fileno(), script.due_ns, script.gaps_ns,
                first, len(script.first), last, len(script.last), ends,
                script.before, script.after + b"\r\n", self._texts, known,
            )  # fmt: skip

        try:
            self._stream = add(_JSON)
        except KeyError:
            self._stream = add({piece: _remember(piece) for piece in self._texts})
        self._sender = sender
        return True

    def come_back(self) -> None:
        """The thread has done what it can: record that, and continue with the rest."""
        stream, script = self._stream, self._script
        if stream is None or script is None:
            return
        rest, due_ns = stream.rest, stream.due_ns
        self._adopt(stream, script)
        if rest and not self._closing():
            self._write(rest)
        ends = script.ends
        if ends is not None and stream.ended == len(ends):
            # Everything is sent, or waits in the transport.
            self._direct.over()
            self._end(self.write_ns[-1])
        elif self._closing():
            self._direct.lost()
        elif self._sent < self._tokens:
            self._due_ns = due_ns + (script.gaps_ns[self._sent - 1] if self._sent else 0)
            self._timer.at(self._due_ns, self._step)
        else:
            self._add(script.end_lines(stream.ended))

    def _adopt(self, stream: Stream, script: TextScript) -> None:
        """Record the chunks that the thread sent."""
        self._stream = None
        sent = self._sent = self._noted = stream.tokens
        middle = max(0, min(sent, self._tokens - 1) - 1)
        self.write_ns = array("q")
        self.write_ns.frombytes(stream.stamps)
        self._record(script.first if sent else ())
        self.chunk_kinds += "c" * middle
        self.chunk_tokens += [1] * middle
        self.bytes_out += middle * sum(map(len, self._around)) + stream.text_bytes
        self._record(script.last if sent == self._tokens > 1 else ())
        ends = (script.ends or ())[: stream.ended]
        self._record(ends)
        if stream.rest:
            chunks, edge = len(self.chunk_kinds), sent == 1 or sent == self._tokens
            written = (script.last if sent > 1 else script.first) if edge and not ends else ()
            self.blocked = list(range(chunks - _unsent(_frames(written), len(stream.rest)), chunks))

    def _record(self, events: Sequence[Event]) -> None:
        for event in events:
            self.bytes_out += len(event.frame)
            self.chunk_kinds.append(event.kind)
            self.chunk_tokens.append(1 if event.carries else 0)

    def close(self, why: str) -> None:
        """Take the stream from the thread first. If the thread has sent it completely, it is not cut."""
        stream, script = self._stream, self._script
        if stream is not None and script is not None and self._sender is not None:
            self._sender.remove(stream)
            if stream.complete:
                self.come_back()
            else:
                self._adopt(stream, script)
        super().close(why)


def reply_of(wire: Wire, writer: ScriptWriter, timer: Timer, on_end: Callable[[Reply], None]) -> Reply:
    """The reply that sends this writer's script."""
    if isinstance(wire, DirectWire) and wire.framed and isinstance(writer, StreamWriter):
        around = writer.around()
        if around is not None:
            return TextReply(wire, writer, around, timer, on_end)
    return Reply(wire, writer, timer, on_end)


def _frames(events: Sequence[Event]) -> list[bytes]:
    """The HTTP chunks of events."""
    return [http_chunk(event.frame) for event in events]


def _ends(events: Sequence[Event]) -> tuple[bytes, ...]:
    """The HTTP chunks of the last events, with the end of the body."""
    *frames, last = _frames(events)
    return (*frames, last + LAST_CHUNK)


def _unsent(frames: Sequence[bytes], rest: int) -> int:
    """How many of the frames in one write are in its last `rest` bytes, wholly or partly. At least one is."""
    count = 0
    while rest > 0 and count < len(frames):
        count += 1
        rest -= len(frames[-count])
    return max(count, 1)


def remember(pieces: Iterable[str]) -> None:
    """Encode pieces that texts will be made of, each with and without its leading space."""
    for piece in set(pieces):
        _remember(piece)
        _remember(piece.removeprefix(" "))


def _remember(piece: str) -> bytes:
    text = _JSON.get(piece)
    if text is None:
        text = orjson.dumps(piece)
        if len(_JSON) < _REMEMBERED:
            # A copy: the result of orjson keeps its 4 KiB buffer alive.
            text = _JSON[piece] = bytes(bytearray(text))
    return text
