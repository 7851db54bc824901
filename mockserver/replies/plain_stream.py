"""The ordinary stream, made cheap: one function from the engine's token to the socket.

`StreamedReply` can do all that a stream can be asked for. Most chunks are the same thing: one token of text in the middle
of a stream, on a connection of ours, with nothing else to say. `PlainStream` sends those without a call in between: the
frame is put together of parts that were rendered before, the stamp is taken, the transport writes. The first and the last
chunk, several tokens at once, and a transport that is closing go the ordinary way.

Rules:
- The stamp is taken immediately before the transport's `write`, which is the send(2) of that very chunk where nothing waits
  in its buffer. Bytes that wait before a write also wait after it: one look, behind the write, tells a blocked chunk.
- What the ledger says of these chunks but their stamps (kinds, tokens, bytes) follows from their number: it is made up when
  another chunk or the end comes. The stamps have their place from the start, so that memory does not grow with a stream.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import orjson

from mockserver.clock import now_ns
from mockserver.dialect.sse import chunked_event
from mockserver.replies.reply import Content, Reply, StreamedReply
from mockserver.replies.wire import DirectWire

_REMEMBERED = 65_536
_JSON: dict[str, bytes] = {}
"""Pieces of text as JSON: a reply is made of words that come up again and again."""


class PlainStream(StreamedReply):
    """An ordinary stream, on a `DirectWire` that frames HTTP chunks."""

    def __init__(self, wire: DirectWire, content: Content, on_end: Callable[[Reply], None]) -> None:
        super().__init__(wire, content, on_end)
        self._pieces = content.pieces
        self._gaps_ns = content.plan.gaps_ns
        self._due_ns = 0
        self._around = content.frames.around_text()
        # A chunk begins with its size, so its head depends on how long the text is: made once for each length.
        self._heads: dict[int, bytes] = {}
        self._tail = chunked_event(*self._around, 0)[1]
        transport = wire.transport
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._closing = transport.is_closing
        self._stamps = array("q", bytes(8 * content.plan.output_tokens))
        # Tokens from `_plain_from` to `tokens_out` are out and not noted yet; up to `_plain_to` they may go this way.
        self._plain_from = 1
        self._plain_to = content.plan.output_tokens - 1

    def pace(self, received_ns: int) -> Callable[[], int | None]:
        """What sends the next token and returns the deadline of the one behind it: received + TTFT + the sum of the gaps,
        as `engine.sampled` has it."""
        ttft_ns = self._content.plan.ttft_ns
        assert ttft_ns is not None
        self._due_ns = received_ns + ttft_ns
        return self.step

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
            head = self._heads.get(len(text))
            if head is None:
                head = self._heads[len(text)] = chunked_event(*self._around, len(text))[0]
            frame = head + text + self._tail
            stamp_ns = now_ns()
            self._write(frame)
            self._stamps[i] = stamp_ns
            self.tokens_out = i + 1
            if self._waiting() > 0:
                self.blocked.append(len(self.chunk_tokens) + i - self._plain_from)
        else:
            super().take(1)
            if i >= self._plain_to:  # It has ended, one way or the other.
                return None
        self._due_ns = due_ns = self._due_ns + self._gaps_ns[i]
        return due_ns

    def _settle(self) -> None:
        """Note what went out plainly."""
        start, stop = self._plain_from, self.tokens_out
        if start < stop:
            self.write_ns = array("q", self.write_ns) + self._stamps[start:stop]
            self.chunk_tokens += [1] * (stop - start)
            self.chunk_kinds += "c" * (stop - start)
            size = len("data: \n\n") + sum(map(len, self._around))
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


def _remember(piece: str) -> bytes:
    text = _JSON.get(piece)
    if text is None:
        if len(_JSON) >= _REMEMBERED:
            _JSON.clear()
        text = _JSON[piece] = orjson.dumps(piece)
    return text
