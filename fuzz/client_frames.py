"""Frames of a WebSocket as the client reads them: cut anywhere they hold the same messages, and a broken one is told.

An input: cuts, then what the server sends. Its handshake is put before what does not begin with one.
"""

from __future__ import annotations

from bench.endpoints.responses import ResponsesMessages
from bench.transport.websocket import BrokenSocket, ClientSocket, is_one_text, left_of_frame
from fuzz.handshake import handshake
from fuzz.target import Target, split, split_input


def _messages(pieces: list[bytes], whole_head: bool) -> tuple[list[bytes], str | None, bool, bool]:
    client = ClientSocket("h", "/v1/responses", [("user-agent", "x")])
    found: list[bytes] = []
    if whole_head:
        assert client.feed_handshake(handshake(client.hello))
        shaken = True
    else:
        shaken = False
    client.begin(ResponsesMessages())
    for piece in pieces:
        if not piece:
            continue
        if not shaken:
            try:
                shaken = client.feed_handshake(piece)
            except BrokenSocket:
                break
            if shaken and client.refused is not None:
                break
            continue
        if client.error is not None or client.closed is not None:
            break
        if client.complete:
            client.behind(piece)
        else:
            found += client.feed(piece)
    client.goodbye()
    client.close()
    return found, client.error, client.closed is not None, client.complete


def read(data: bytes) -> None:
    """One input."""
    cuts, data = split_input(data)
    has_head = data.startswith(b"HTTP/")
    whole = _messages([data], not has_head)
    assert sum(map(len, whole[0])) <= len(data) + 4
    if not has_head:
        cut = _messages(split(data, cuts), True)
        if whole[1] is None and not whole[2]:
            assert cut[0] == whole[0]
    for size in (0, 1, 2, 8, 64):
        glance = data[:size]
        assert 0 <= left_of_frame(glance) < 2**64
        is_one_text(glance)


WORDS = (
    b"\x81\x05hello",
    b"\x81\x7e\x00\x80",
    b"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05",
    b"\x89\x00",
    b"\x8a\x00",
    b"\x88\x02\x03\xe8",
    b"\x01\x02he",
    b"\x80\x03llo",
    b"\x82\x01a",
    b"\x91\x01a",
    b"\x81\x85\x00\x00\x00\x00",
    b"HTTP/1.1 403 F\r\ncontent-length: 2\r\n\r\nno",
    b"HTTP/1.1 101 S\r\nupgrade: websocket\r\n",
)
TARGET = Target(read, words=WORDS)
