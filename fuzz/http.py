"""Whole, cut and byte by byte, a response is the same, and no body is longer than what came."""

from __future__ import annotations

from collections.abc import Sequence

from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from fuzz.target import Target, split, split_input


def _response(pieces: Sequence[bytes]) -> tuple[int | None, bytes, bool]:
    parser, body = ResponseParser(), b""
    for piece in pieces:
        if not piece:
            continue
        try:
            body += b"".join(parser.feed(piece))
        except (ProtocolError, HeadTooLarge):
            break
        if parser.error is not None or parser.complete:
            break
    else:
        parser.end_of_file()
    found = parser.status, body, parser.complete
    parser.close()
    return found


def read(data: bytes) -> None:
    """One input: cuts, then what a server sends."""
    cuts, data = split_input(data)
    whole = _response([data])
    assert len(whole[1]) <= len(data)
    assert _response(split(data, cuts)) == whole
    assert _response([data[i : i + 1] for i in range(len(data))]) == whole


WORDS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\n",
    b"HTTP/1.1 101 S\r\n",
    b"HTTP/1.1 100 C\r\n\r\n",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5;a=b\r\n",
    b"ffffffffffffffff\r\n",
    b"upgrade: websocket\r\n",
    b" folded\r\n",
    b"connection: upgrade\r\n",
)
TARGET = Target(read, words=WORDS)
