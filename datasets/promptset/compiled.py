"""Whether a compiled part belongs to the source beside it: of the load tester's part and of the mock's, which both know this
package and not each other.
"""

from __future__ import annotations

import zlib
from pathlib import Path


def is_stale(source: Path, made_of: int) -> bool:
    """Whether the source is another than the one that the binary beside it was made of: a checkout that has gone on and was
    not installed again.

    `made_of`: the CRC-32 that hatch_build.py told the compiler, 0 of a build that did not say. A wheel has no source.
    """
    return made_of != 0 and source.exists() and made_of != zlib.crc32(source.read_bytes())
