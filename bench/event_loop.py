"""The event loop that carries a load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one. The manifest says which loop it was."""
    try:
        import uvloop
    except ImportError:  # Not made for Windows.
        return None
    return uvloop.new_event_loop
