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
from collections.abc import Callable

import orjson

from mockserver.clock import now_ns
from mockserver.dialect.sse import chunked_event
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply
from mockserver.replies.wire import DirectWire

_REMEMBERED = 65_536
_JSON: dict[str, bytes] = {}
"""Pieces of text as JSON. Replies use the same words again and again."""


class PlainStream(StreamedReply):
    """An ordinary stream on a `DirectWire` that frames HTTP chunks."""

    def __init__(self, wire: DirectWire, content: Content, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, content, on_end)
        self._pieces = content.pieces
        self._gaps_ns = content.plan.gaps_ns
        self._due_ns = 0
        self._around = content.frames.around_text()
        # A chunk begins with its size, so its head depends on the length of the text. One head per length.
        self._heads: dict[int, bytes] = {}
        self._tail = chunked_event(*self._around, 0)[1]
        transport = wire.transport
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._closing = transport.is_closing
        self._stamps = array("q", bytes(8 * content.plan.output_tokens))
        # Tokens from `_plain_from` to `tokens_out` are sent but not noted yet. Tokens up to `_plain_to` may take this path.
        self._plain_from = 1
        self._plain_to = content.plan.output_tokens - 1

    def pace(self, received_ns: int) -> Callable[[], int | None]:
        """The function that sends the next token and returns the deadline of the one after it: received + TTFT + the sum
        of the gaps, as in `engine.sampled`."""
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
            if i >= self._plain_to:  # The stream has ended.
                return None
        self._due_ns = due_ns = self._due_ns + self._gaps_ns[i]
        return due_ns

    def _settle(self) -> None:
        """Note the chunks that took the cheap path."""
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
