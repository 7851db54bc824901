"""Whether the compiled sender is there (`_sender.c`), and whether it is to be used.

It is built where a C compiler is at hand when Trueload is installed (hatch_build.py). Without it everything works as well, in
Python: tokens wait for each other and for requests that are read, and cost more CPU. TRUELOAD_PURE=1 leaves it aside.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockserver.native._sender import Sender


def sender() -> Callable[[int], Sender] | None:
    """What makes a sender, of the ns that a token may be early. None where Python does its work."""
    if os.environ.get("TRUELOAD_PURE", "") not in ("", "0"):
        return None
    try:
        from mockserver.native import _sender
    except ImportError:
        return None
    return None if is_stale(_sender.SOURCE) else _sender.Sender


def is_stale(made_of: int) -> bool:
    """Whether the source beside the binary is another than the one that the binary was made of: a checkout that has gone on
    and was not installed again."""
    source = Path(__file__).with_name("_sender.c")
    return made_of != 0 and source.exists() and made_of != zlib.crc32(source.read_bytes())


def in_use() -> str:
    """`compiled` or `python`, for `/truth` and `--version`."""
    return "python" if sender() is None else "compiled"
