"""Compressed bodies, piece by piece: gzip, deflate, and deflate without a head, as some servers write it."""

from __future__ import annotations

import zlib

MOST_INFLATED = 256 * 1024 * 1024
"""A compressed reply may unpack to so many bytes, and no more."""
PACKED = ("gzip", "x-gzip", "deflate")
"""Content encodings that are read."""
_ZLIB_HEAD = 2
_MEMBER = b"\x1f\x8b"
"""With which a member of gzip begins."""


class Unpacker:
    """Unpacks one body. `total` counts its bytes: it stops at the first beyond MOST_INFLATED."""

    __slots__ = ("_behind", "_inflate", "_perhaps_raw", "total")

    def __init__(self, encoding: str) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        # The beginning of a body that may be deflate without a head.
        self._perhaps_raw: bytes | None = b"" if encoding == "deflate" else None
        # What came behind a member and may begin the next; None: no member follows.
        self._behind: bytes | None = b""
        self.total = 0

    def unpack(self, piece: bytes) -> bytes:
        """Gzip may have several members, one behind the other (RFC 1952, 2.2): a proxy packs each event by itself.

        Raises zlib.error.
        """
        if self._perhaps_raw is not None:
            return self._of_perhaps_raw(self._perhaps_raw + piece)
        unpacked = b""
        while piece and self._behind is not None and self.total <= MOST_INFLATED:
            if self._inflate.eof:
                piece, self._behind = self._behind + piece, b""
                if not piece.startswith(_MEMBER):
                    # What is no member is nobody's, and so is all that follows. Its first byte alone may yet be one.
                    self._behind = piece if _MEMBER.startswith(piece) else None
                    break
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            part = self._inflate.decompress(piece, MOST_INFLATED + 1 - self.total)
            unpacked += part
            self.total += len(part)
            piece = self._inflate.unused_data
        return unpacked

    def _of_perhaps_raw(self, begun: bytes) -> bytes:
        """The head of zlib has two bytes, and deflate without one cannot be taken for it (RFC 9110, 8.4.1.2)."""
        if len(begun) < _ZLIB_HEAD:
            self._perhaps_raw = begun
            return b""
        self._perhaps_raw = None
        if begun[0] & 0x0F != zlib.DEFLATED or int.from_bytes(begun[:_ZLIB_HEAD]) % 31:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return self.unpack(begun)
