"""The compiled sender of the mock against the frames that Python makes: the same bytes, and notes that account for each.

An input: cuts (where the reader stops for a moment), how it is sent (1 byte), the texts of the tokens between 0x1f. Of the
way: 1 has a role, 2 and 4 are the chunks behind the last token (both: none until it is under way), 8 is a socket that takes
little, 16 takes the stream away in its middle, 32 has gaps between tokens, 64 is a reader who leaves.
"""

from __future__ import annotations

import functools
import select
import socket
from typing import TYPE_CHECKING

import orjson

from fuzz.target import Target, split, split_input
from mockserver import native
from mockserver.clock import now_ns
from mockserver.dialect.sse import event, http_chunk

if TYPE_CHECKING:
    from mockserver.native._sender import Sender, Stream

_ROLE, _USAGE, _DONE, _SMALL, _REMOVE, _GAPS, _LEAVE = 1, 2, 4, 8, 16, 32, 64
_MOST_TOKENS = 200
_GAP_NS = 3_000
_PATIENCE_S = 5.0


@functools.cache
def _sender() -> Sender:
    make = native.sender()
    assert make is not None
    return make(100_000)


class _Reply:
    """The chunks of a reply, as Python frames them."""

    def __init__(self, way: int, texts: list[str]) -> None:
        self.texts = texts
        self.before, self.after = b'{"id":"x","delta":{"content":', b"}}"
        self.opening = [http_chunk(event(b'{"role":"assistant"}'))] if way & _ROLE else []
        ends = (http_chunk(event(b'{"usage":1}')),) if way & _USAGE else ()
        self.ends = (*ends, http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n") if way & _DONE else ends
        chunks = [http_chunk(event(self.before + orjson.dumps(text) + self.after)) for text in texts]
        self.chunks = self.opening + chunks

    def first(self, tokens: int, ended: int) -> bytes:
        """The bytes of so many tokens and of so many chunks behind the last."""
        opening = len(self.opening) if tokens else 0
        return b"".join([*self.chunks[: tokens + opening], *self.ends[:ended]])

    def hand_over(self, fd: int, way: int) -> Stream:
        count = len(self.texts)
        gaps = tuple(_GAP_NS * (i % 3) for i in range(count - 1)) if way & _GAPS else (0,) * (count - 1)
        known = {text: orjson.dumps(text) for text in self.texts}
        late = bool(way & _USAGE and way & _DONE)
        around = (b"data: " + self.before, self.after + b"\n\n\r\n")
        first = self.chunks[: len(self.opening) + 1]
        stream = _sender().add(
            self, fd, now_ns(), gaps,
            b"".join(first), len(first), self.chunks[-1], 1, () if late else self.ends,
            *around, self.texts, known,
        )  # fmt: skip
        if late and not _sender().end(stream, self.ends):
            self.ends = ()  # It was over before.
        return stream


def _is_over(within_s: float = 0.01) -> bool:
    """Whether the only stream there is comes back."""
    ready, _, _ = select.select([_sender().fileno()], [], [], within_s)
    return bool(ready and _sender().take())


def _read(there: socket.socket, most: int) -> bytes:
    got = bytearray()
    while len(got) < most:
        try:
            data = there.recv(most - len(got))
        except BlockingIOError:
            break
        if not data:
            break
        got += data
    return bytes(got)


def read(data: bytes) -> None:
    """One input."""
    cuts, data = split_input(data)
    if not data:
        return
    way, data = data[0], data[1:]
    texts = data.decode(errors="replace").split("\x1f")[:_MOST_TOKENS]
    reply = _Reply(way, texts)
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    if way & _SMALL:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    stream = reply.hand_over(here.fileno(), way)
    if way & _LEAVE:
        there.shutdown(socket.SHUT_RD)
    got = bytearray()
    until_ns = now_ns() + round(_PATIENCE_S * 1e9)
    for piece in split(reply.first(len(texts), len(reply.ends)), cuts):
        got += _read(there, len(piece))
    if way & _REMOVE:
        _sender().remove(stream)
    else:
        while not _is_over():
            assert now_ns() < until_ns, "the sender keeps a stream for ever"
    if not way & _LEAVE:
        got += _read(there, 1 << 30)
    here.close()
    there.close()
    _check(reply, stream, bytes(got), way)


def _check(reply: _Reply, stream: Stream, got: bytes, way: int) -> None:
    sent, ended, rest, count = stream.tokens, stream.ended, stream.rest, len(reply.texts)
    assert 0 <= sent <= count
    assert ended <= len(reply.ends)
    whole = reply.first(sent, ended)
    if not way & _LEAVE:
        assert got + rest == whole
    assert whole.endswith(rest)
    opened = len(reply.opening) if sent else 0
    stamps = memoryview(stream.stamps).cast("q").tolist()
    assert len(stamps) == sent + opened + ended
    assert stamps == sorted(stamps)
    assert stream.text_bytes == sum(len(orjson.dumps(text)) for text in reply.texts[1 : min(sent, count - 1)])
    if not way & _REMOVE and not rest:
        assert (sent, ended) == (count, len(reply.ends))
    assert stream.complete == (sent == count and ended == len(reply.ends) > 0 and not rest)


WORDS = (
    b"\x1f",
    b" word",
    b'"',
    b"\\",
    "\u2028".encode(),
    "六".encode(),
    b"\x00",
    b"x" * 250,
    b"y" * 5000,
    b"\x1f" * 20,
)
TARGET = Target(
    read,
    words=WORDS,
    missing="" if native.sender() is not None else "the sender is not compiled: install with a C compiler",
)
