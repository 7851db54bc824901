"""A file of lines to which another process appends, read in pieces of bounded size."""

from __future__ import annotations

from pathlib import Path

PIECE_BYTES = 1024 * 1024
"""The largest size of a piece, unless a single line is longer."""


class GrowingFile:
    """A file to which another process appends, read from its beginning in pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._part = bytearray()

    def next_piece(self) -> bytes:
        """The next complete lines; empty if there are none yet."""
        while True:
            end = self._part.rfind(b"\n", 0, PIECE_BYTES) + 1 or self._part.find(b"\n") + 1
            if end:
                piece = bytes(self._part[:end])
                del self._part[:end]
                return piece
            with self._path.open("rb") as file:
                file.seek(self._at)
                read = file.read(PIECE_BYTES)
            if not read:
                return b""
            self._at += len(read)
            self._part += read

    @property
    def unread(self) -> int:
        """The number of bytes not yet returned."""
        try:
            return max(0, self._path.stat().st_size - self._at + len(self._part))
        except OSError:
            return 0
