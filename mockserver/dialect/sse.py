"""Server-sent events and HTTP chunks as bytes: pure functions."""

from __future__ import annotations

DONE = b"data: [DONE]\n\n"
"""The event that ends every stream of an OpenAI-compatible server."""

LAST_CHUNK = b"0\r\n\r\n"
"""The HTTP chunk that ends a body in chunked transfer encoding."""


def event(data: bytes) -> bytes:
    """One event with `data`, which must not contain a line end."""
    return b"data: %b\n\n" % data


def named_event(name: bytes, data: bytes) -> bytes:
    """One event with its type before its `data`."""
    return b"event: %b\ndata: %b\n\n" % (name, data)


def http_chunk(body: bytes) -> bytes:
    """`body` as one HTTP chunk (RFC 9112, 7.1): its length in hexadecimal, then its bytes."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def chunk_around(before: bytes, after: bytes, size: int) -> tuple[bytes, bytes]:
    """The parts of `http_chunk(before + text + after)` before and after a text of `size` bytes."""
    return b"%x\r\n%b" % (len(before) + size + len(after), before), after + b"\r\n"
