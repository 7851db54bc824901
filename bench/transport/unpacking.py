"""Compressed bodies, piece by piece: gzip, deflate, and deflate without a header, as some servers write it."""

from __future__ import annotations

import zlib

MOST_INFLATED = 256 * 1024 * 1024
"""The most bytes to which a compressed reply may unpack."""
PACKED = ("gzip", "x-gzip", "deflate")
"""Supported content encodings."""
_ZLIB_HEAD = 2
_MEMBER = b"\x1f\x8b"
"""The first bytes of a gzip member."""


class Unpacker:
    """Unpacks one body. `total` counts its bytes: it stops at the first beyond MOST_INFLATED."""

    __slots__ = ("_behind", "_inflate", "_perhaps_raw", "total")

    def __init__(self, encoding: str) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        # The beginning of a body that may be deflate without a header.
        self._perhaps_raw: bytes | None = b"" if encoding == "deflate" else None
        # Data after a member that may begin the next; None: no member follows.
        self._behind: bytes | None = b""
        self.total = 0

    @property
    def ended(self) -> bool:
        """Whether the body is whole: compressed data marks its own end."""
        return self._inflate.eof

    def unpack(self, piece: bytes) -> bytes:
        """Unpack a piece. Gzip may have several consecutive members (RFC 1952, 2.2): a proxy packs each event
        separately.

        Raises zlib.error.
        """
        if self._perhaps_raw is not None:
            return self._of_perhaps_raw(self._perhaps_raw + piece)
        unpacked = b""
        while piece and self._behind is not None and self.total <= MOST_INFLATED:
            if self._inflate.eof:
                piece, self._behind = self._behind + piece, b""
                if not piece.startswith(_MEMBER):
                    # Anything but a member is ignored, with everything after it. Its first byte alone may still begin
                    # one.
                    self._behind = piece if _MEMBER.startswith(piece) else None
                    break
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            part = self._inflate.decompress(piece, MOST_INFLATED + 1 - self.total)
            unpacked += part
            self.total += len(part)
            piece = self._inflate.unused_data
        return unpacked

    def _of_perhaps_raw(self, begun: bytes) -> bytes:
        """The zlib header has two bytes, and raw deflate cannot be mistaken for it (RFC 9110, 8.4.1.2)."""
        if len(begun) < _ZLIB_HEAD:
            self._perhaps_raw = begun
            return b""
        self._perhaps_raw = None
        if begun[0] & 0x0F != zlib.DEFLATED or int.from_bytes(begun[:_ZLIB_HEAD]) % 31:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return self.unpack(begun)
