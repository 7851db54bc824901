"""The ordinary stream, made cheap: one function takes the engine's token to the socket.

`StreamedReply` can do everything. Most chunks need little of that: they hold one token of text in the middle of a stream,
on a connection of our server. `PlainStream` sends those with no call in between: it joins prepared parts into a frame,
takes the stamp, and the transport writes. The first and last chunk, several tokens at once, and a closing transport take
the general path of `StreamedReply`.

Rules:
- The stamp is taken immediately before the transport's `write`. If its buffer is empty, that write is the send(2) of this
  chunk. Bytes that wait before a write also wait after it, so one check after the write finds a blocked chunk.
- Except for the stamps, the ledger's facts about these chunks (kinds, tokens, bytes) follow from their number. They are
  filled in at the next other chunk or at the end. The stamps have their space from the start, so memory does not grow.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import orjson

from mockserver.clock import now_ns
from mockserver.dialect.sse import DONE, LAST_CHUNK, chunked_event, event, http_chunk
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply, usage_so_far
from mockserver.replies.sender import StreamSender
from mockserver.replies.wire import DirectWire

if TYPE_CHECKING:
    from mockserver.native._sender import Stream

_DONE = http_chunk(DONE) + LAST_CHUNK
_AROUND = len(event(b""))
_REMEMBERED = 65_536
_JSON: dict[str, bytes] = {}
"""Pieces of text as JSON. Replies use the same words again and again. Entries are never removed: a thread reads
them."""


class _Parts:
    """What chunks are joined of, and the stamps of those that were."""

    __slots__ = ("heads", "stamps", "tail")

    def __init__(self, around: tuple[bytes, bytes], tokens: int) -> None:
        # A chunk begins with its size, so its head depends on the length of the text. One head per length.
        self.heads: dict[int, bytes] = {}
        self.tail = chunked_event(*around, 0)[1]
        self.stamps = array("q", bytes(8 * tokens))


class PlainStream(StreamedReply):
    """An ordinary stream on a `DirectWire` that frames HTTP chunks."""

    def __init__(self, wire: DirectWire, content: Content, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, content, on_end)
        self._direct = wire
        self._pieces = content.pieces
        self._gaps_ns = content.plan.gaps_ns
        self._due_ns = 0
        self._around = content.frames.around_text()
        self._parts: _Parts | None = None
        """Made when a token is sent here, and not by the thread."""
        transport = wire.transport
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._closing = transport.is_closing
        # Tokens from `_plain_from` to `tokens_out` are sent but not noted yet. Tokens up to `_plain_to` may take this path.
        self._plain_from = 1
        self._plain_to = content.plan.output_tokens - 1
        self._sender: StreamSender | None = None
        self._stream: Stream | None = None
        """What the thread has of this reply, and who must not be asked meanwhile."""
        self._opening = self._last = 0
        """Bytes of the events of the role and of the last token, for a stream that the thread has."""
        self._usage = b""
        self._go_on: Callable[[int, Callable[[], int | None]], None] | None = None

    def pace(self, received_ns: int) -> Callable[[], int | None]:
        """The function that sends the next token and returns the deadline of the one after it: received + TTFT + the sum
        of the gaps, as in `engine.sampled`."""
        ttft_ns = self._content.plan.ttft_ns
        assert ttft_ns is not None
        self._due_ns = received_ns + ttft_ns
        return self.step

    def hand_over(self, sender: StreamSender, go_on: Callable[[int, Callable[[], int | None]], None]) -> bool:
        """Let the thread of `sender` send this reply, after `pace` and `begin`. `go_on` is called with a deadline and a step
        if the reply has to go on here. False: the thread cannot do it."""
        content = self._content
        socket = self._direct.transport.get_extra_info("socket")
        if self._ended or socket is None or self._closing() or self._waiting():
            return False
        frames, count = content.frames, content.input_count
        role, before, after = frames.role(None), *self._around
        last = b"data: %b\n\n" % frames.text(self._pieces[-1], content.finish, None)
        opening = None
        if role is not None:
            opening = b"data: %b\n\n" % role
            self._opening = len(opening)
            opening = b"%x\r\n%b\r\n" % (self._opening, opening)
        self._last = len(last)
        around = (b"data: " + before, after + b"\n\n\r\n")
        given = (self, socket.fileno(), self._due_ns, self._gaps_ns, opening, *around, self._pieces)
        ends = () if content.params.include_usage and not count.known else self._ends()
        try:
            self._stream = sender.core.add(*given, _JSON, http_chunk(last), ends)
        except KeyError:
            known = {piece: _remember(piece) for piece in self._pieces}
            self._stream = sender.core.add(*given, known, http_chunk(last), ends)
        self._sender, self._go_on = sender, go_on
        if not ends:
            count.when_known(self._end_in_thread)
        return True

    def _ends(self) -> tuple[bytes, ...]:
        """What follows the last token. The tokens of the prompt are known, or not asked for."""
        content = self._content
        if not content.params.include_usage:
            return (_DONE,)
        self._usage = event(content.frames.usage(usage_so_far(content.input_count, content.plan.output_tokens)))
        return (http_chunk(self._usage), _DONE)

    def _end_in_thread(self) -> None:
        if self._stream is not None and self._sender is not None:
            self._sender.core.end(self._stream, self._ends())

    def come_back(self) -> None:
        """The thread has done what it could: note it, and go on with what is left."""
        if self._stream is None:
            return
        stream, rest = self._stream, self._stream.rest
        self._adopt()
        if rest and not self._closing():
            self._write(rest)
        of_end = 1 + self._content.params.include_usage
        if stream.ended == of_end:
            # All is sent, or waits in the transport.
            self._direct.over()
            self._end(self.write_ns[-1])
        elif self._closing():
            self._direct.lost()
        elif self.tokens_out < self._content.plan.output_tokens:
            assert self._go_on is not None
            self._due_ns = due_ns = stream.due_ns + (self._gaps_ns[self.tokens_out - 1] if self.tokens_out else 0)
            self._go_on(due_ns, self.step)
        elif stream.ended or not self._content.params.include_usage:
            self._send_done()
        else:
            self._content.input_count.when_known(self._send_usage)

    def _adopt(self) -> None:
        """Note the chunks that the thread sent."""
        stream = self._stream
        assert stream is not None
        self._stream = None
        content, ended = self._content, stream.ended
        stamps = array("q")
        stamps.frombytes(stream.stamps)
        sent = stream.tokens
        kinds, tokens = "c" * sent, [1] * sent
        middle = min(sent, content.plan.output_tokens - 1)
        before, after = self._around
        size = (_AROUND + len(before) + len(after)) * middle + stream.text_bytes
        if sent and self._opening:
            kinds = "r" + kinds
            tokens.insert(0, 0)
            size += self._opening
        if sent > middle:
            size += self._last
        of_end = ("uo" if content.params.include_usage else "o")[:ended]
        for kind in of_end:
            tokens.append(0)
            size += len(self._usage if kind == "u" else DONE)
        kinds += of_end
        self.bytes_out += size
        self.write_ns = stamps
        self.chunk_kinds = [*kinds]
        self.chunk_tokens = tokens
        if stream.blocked:
            self.blocked = list(range(len(kinds) - stream.blocked, len(kinds)))
        self.tokens_out = sent
        self._plain_from = max(1, sent)

    def close(self, why: str) -> None:
        """Take it from the thread before. What the thread has sent to its end is not cut any more."""
        if self._stream is not None and self._sender is not None:
            self._sender.remove(self._stream)
            if self._stream.complete:
                self.come_back()
            else:
                self._adopt()
        super().close(why)

    def take(self, tokens: int) -> None:
        if tokens == 1 and not self._ended:
            self.step()
        else:
            super().take(tokens)

    def step(self) -> int | None:
        """Send one token."""
        i = self.tokens_out
        if 0 < i < self._plain_to and not self._closing():
            piece = self._pieces[i]
            text = _JSON.get(piece)
            if text is None:
                text = _remember(piece)
            parts = self._parts
            if parts is None:
                parts = self._parts = _Parts(self._around, self._content.plan.output_tokens)
            head = parts.heads.get(len(text))
            if head is None:
                head = parts.heads[len(text)] = chunked_event(*self._around, len(text))[0]
            frame = head + text + parts.tail
            stamp_ns = now_ns()
            self._write(frame)
            parts.stamps[i] = stamp_ns
            self.tokens_out = i + 1
            if self._waiting() > 0:
                self.blocked.append(len(self.chunk_tokens) + i - self._plain_from)
        else:
            super().take(1)
            if i >= self._plain_to:  # The stream has ended.
                return None
        self._due_ns = due_ns = self._due_ns + self._gaps_ns[i]
        return due_ns

    def _settle(self) -> None:
        """Note the chunks that took the cheap path."""
        start, stop, parts = self._plain_from, self.tokens_out, self._parts
        if start < stop:
            assert parts is not None
            self.write_ns = array("q", self.write_ns) + parts.stamps[start:stop]
            self.chunk_tokens += [1] * (stop - start)
            self.chunk_kinds += "c" * (stop - start)
            size = _AROUND + sum(map(len, self._around))
            self.bytes_out += size * (stop - start) + sum(len(_remember(p)) for p in self._pieces[start:stop])

    def _give(self, start: int, stop: int) -> None:
        self.tokens_out = start
        self._settle()
        self.tokens_out = self._plain_from = stop
        super()._give(start, stop)

    def _end(self, end_ns: int | None) -> None:
        if end_ns is not None and not self._ended:
            self._settle()
            self._plain_to = 0
        super()._end(end_ns)


def remember(pieces: Iterable[str]) -> None:
    """Texts will be made of these pieces, each with or without its leading space."""
    for piece in set(pieces):
        _remember(piece)
        _remember(piece.removeprefix(" "))


def _remember(piece: str) -> bytes:
    text = _JSON.get(piece)
    if text is None:
        text = orjson.dumps(piece)
        if len(_JSON) < _REMEMBERED:
            # A copy: what orjson gives keeps the 4 KiB of its buffer for as long as it lives.
            text = _JSON[piece] = bytes(bytearray(text))
    return text
