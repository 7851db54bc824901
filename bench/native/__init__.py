"""Whether the compiled core is there (`_core.c`), and whether it is to be used.

It is built where a C compiler is at hand when Trueload is installed (hatch_build.py). Without it everything works as well,
in Python, and costs more CPU. TRUELOAD_PURE=1 leaves it aside. So does a binary of another source than the one beside it.
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
    """What is compiled, by the names that _core.c gives it."""

    Receiver: Callable[..., Receiver]
    texts: Callable[[list[bytes], bytes, bytes], list[bytes]]
    CATCH_UP: int
    PARSE: int


def _found() -> Core | None:
    if os.environ.get("TRUELOAD_PURE", "") not in ("", "0"):
        return None
    try:
        from bench.native import _core
    except ImportError:
        return None
    if is_stale(Path(__file__).with_name("_core.c"), _core.SOURCE):
        return None
    return Core(_core.Receiver, _core.texts, _core.CATCH_UP, _core.PARSE)


core = _found()
"""The compiled core, None where Python does its work."""


receivers: list[Receiver] = []
"""Those that run in this process: what holds for the thread of the event loop, its priority say, holds for theirs."""


def in_use() -> str:
    """`compiled` or `python`, for manifests and `--version`."""
    return "python" if core is None else "compiled"
