"""How a process of ours uses the interpreter, so that its start is cheap. Called first, before anything is imported."""

from __future__ import annotations

import gc
import os

GARBAGE_AT = 100_000
"""New objects before the collector looks at them. An import makes tens of thousands that all stay: to look at each several
times is an eighth of the start."""


def set_up() -> None:
    """Of this process, and of those that it starts: the garbage collector looks rarely, and pydantic looks for no plugins (it
    would read what every installed package says of itself)."""
    gc.set_threshold(GARBAGE_AT, 50, 50)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
