"""Messages from another process as bytes that may be split anywhere: a length, then the packed content."""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("!I")


def frame(packed: bytes) -> bytes:
    """Packed content, preceded by its length."""
    return _LENGTH.pack(len(packed)) + packed


class Frames:
    """Extracts the contents of frames from bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        buffer = self._bytes
        buffer += piece
        frames, at = [], 0
        while len(buffer) - at >= _LENGTH.size:
            begin = at + _LENGTH.size
            end = begin + _LENGTH.unpack_from(buffer, at)[0]
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[begin:end]))
            at = end
        del buffer[:at]
        return frames
