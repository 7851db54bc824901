"""What is made elsewhere as bytes that may be cut anywhere: a length, then a request or a session."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Generic, TypeVar

import orjson

from bench.workload import Made
from promptset.sessions import Session, read_session

_LENGTH = struct.Struct("!I")
_REQUEST = struct.Struct("!iqqB")
"""Bytes of the session's name (-1: none), input and output tokens asked (-1: not known), whether the reply streams."""

T = TypeVar("T")


def frame(item: Made | Session) -> bytes:
    """One of them as bytes."""
    packed = _pack_request(item) if isinstance(item, Made) else orjson.dumps(item.row())
    return _LENGTH.pack(len(packed)) + packed


def _pack_request(made: Made) -> bytes:
    session = None if made.session is None else made.session.encode()
    head = _REQUEST.pack(
        -1 if session is None else len(session),
        -1 if made.input_tokens_asked is None else made.input_tokens_asked,
        -1 if made.output_tokens_asked is None else made.output_tokens_asked,
        made.stream,
    )
    return b"".join((head, session or b"", made.body))


def request_of(packed: bytes) -> Made:
    """The request in a frame."""
    session_bytes, input_tokens, output_tokens, stream = _REQUEST.unpack_from(packed)
    body_at = _REQUEST.size + max(0, session_bytes)
    return Made(
        body=packed[body_at:],
        stream=bool(stream),
        input_tokens_asked=None if input_tokens < 0 else input_tokens,
        output_tokens_asked=None if output_tokens < 0 else output_tokens,
        session=None if session_bytes < 0 else packed[_REQUEST.size : body_at].decode(),
    )


def session_of(packed: bytes) -> Session:
    """The session in a frame."""
    return read_session(orjson.loads(packed), "")


class Frames(Generic[T]):
    """The contents of frames out of bytes that come in pieces; `unpack` is one of the two functions above."""

    def __init__(self, unpack: Callable[[bytes], T]) -> None:
        self._unpack = unpack
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[T]:
        """What is whole with this piece."""
        buffer = self._bytes
        buffer += piece
        found, at = [], 0
        while len(buffer) - at >= _LENGTH.size:
            begin = at + _LENGTH.size
            end = begin + _LENGTH.unpack_from(buffer, at)[0]
            if len(buffer) < end:
                break
            found.append(self._unpack(bytes(buffer[begin:end])))
            at = end
        del buffer[:at]
        return found
