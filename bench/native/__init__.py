"""Whether the compiled core (`_core.c`) exists and should be used.

It is built at install time if a C compiler is available (hatch_build.py). Without it everything works the same in
Python, at a higher CPU cost. TRUELOAD_PURE=1 disables it. A binary built from different source than the present file is
not used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptset.compiled import is_stale

if TYPE_CHECKING:
    from bench.native._core import Receiver


@dataclass(frozen=True, slots=True)
class Core:
    """The compiled functions, under the names that _core.c gives them."""

    Receiver: Callable[..., Receiver]
    texts: Callable[[list[bytes], bytes, bytes], list[bytes]]
    CATCH_UP: int
    PARSE: int


def _load() -> Core | None:
    if os.environ.get("TRUELOAD_PURE", "") not in ("", "0"):
        return None
    try:
        from bench.native import _core
    except ImportError:
        return None
    if is_stale(Path(__file__).with_name("_core.c"), _core.SOURCE):
        return None
    return Core(_core.Receiver, _core.texts, _core.CATCH_UP, _core.PARSE)


core = _load()
"""The compiled core. None: Python does its work."""


receivers: list[Receiver] = []
"""The receivers of this process. A setting of the event loop's thread, such as its priority, also applies to their
threads."""


def in_use() -> str:
    """`compiled` or `python`, for manifests and `--version`."""
    return "python" if core is None else "compiled"
