"""Whether the compiled sender (`_sender.c`) is available and should be used.

It is built if a C compiler is available when Trueload is installed (hatch_build.py). Without it everything works in
Python, but tokens wait for each other and for the reading of requests, and cost more CPU. TRUELOAD_PURE=1 disables it.
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
    """A factory of senders; its argument is how many ns early a token may be sent. None if Python sends everything."""
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
