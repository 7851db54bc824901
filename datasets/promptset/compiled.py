"""Checks whether a compiled part matches the source next to it. The load tester and the mock both use it: they know
this package and not each other.
"""

from __future__ import annotations

import zlib
from pathlib import Path


def is_stale(source: Path, made_of: int) -> bool:
    """Whether the binary was built from a different version of the source, as in a checkout that was updated but not
    reinstalled.

    `made_of` is the CRC-32 that hatch_build.py passed to the compiler, or 0. A wheel has no source.
    """
    return made_of != 0 and source.exists() and made_of != zlib.crc32(source.read_bytes())
