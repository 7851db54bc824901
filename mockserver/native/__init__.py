"""Whether the compiled sender is there (`_sender.c`), and whether it is to be used.

It is built where a C compiler is at hand when Trueload is installed (hatch_build.py). Without it everything works as well, in
Python: tokens wait for each other and for requests that are read, and cost more CPU. TRUELOAD_PURE=1 leaves it aside.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from promptset.compiled import is_stale

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
    stale = is_stale(Path(__file__).with_name("_sender.c"), _sender.SOURCE)
    return None if stale else _sender.Sender


def in_use() -> str:
    """`compiled` or `python`, for `/truth` and `--version`."""
    return "python" if sender() is None else "compiled"
