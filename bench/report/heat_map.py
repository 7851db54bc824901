"""A heat map as a PNG inside the page: one colour whose opacity shows the count. Small, and the same in light and dark.

The pixels are stored uncompressed, so that the bytes do not depend on the version of a compressor.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib

from bench.documents.charts import Cells

_LEVELS = 16
_COLOUR = (58, 118, 226)


def data_url(cells: Cells) -> str:
    """The image: one pixel per cell, the lowest row at the bottom."""
    rows = len(cells.columns[0])
    most = max([1, *(n for column in cells.columns for n in column)])
    lines = bytearray()
    for row in range(rows - 1, -1, -1):
        levels = [math.ceil((_LEVELS - 1) * math.sqrt(column[row] / most)) for column in cells.columns]
        levels += [0] * (len(levels) % 2)
        lines.append(0)  # No filter.
        lines += bytes(high << 4 | low for high, low in zip(levels[::2], levels[1::2], strict=True))
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", len(cells.columns), rows, 4, 3, 0, 0, 0))
    png += _chunk(b"PLTE", bytes(_COLOUR) * _LEVELS)
    png += _chunk(b"tRNS", bytes(round(255 * (0.12 + 0.88 * k / (_LEVELS - 1))) if k else 0 for k in range(_LEVELS)))
    png += _chunk(b"IDAT", _stored(bytes(lines))) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _stored(content: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    size = 0xFFFF
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    parts = [
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for at, block in enumerate(blocks)
    ]
    return b"\x78\x01" + b"".join(parts) + struct.pack(">I", zlib.adler32(content))
