"""What a kind of text is: units that may follow each other in any order, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class TextKind:
    """A kind of text, of which `promptset.drafts` makes texts of any length."""

    unit: Callable[[Random], str]
    """Writes one unit: a sentence, a function, a record."""
    glue: str
    """What stands between two units."""
    fill_open: str
    """What goes before the words that fill a text up to its length..."""
    fill_close: str = ""
    """...and what behind them."""
    open: str = ""
    """What goes before the first unit..."""
    close: str = ""
    """...and what behind everything."""
    own_words: bool = False
    """Filled with the units' own words (or characters), and not with common English words."""
