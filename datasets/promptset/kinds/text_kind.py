"""A kind of text: units in any order, and how they are joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptset.rng import Random


@dataclass(frozen=True, slots=True)
class TextKind:
    """A kind of text. `promptset.drafts` makes texts of any length from it."""

    unit: Callable[[Random], str]
    """Writes one unit: a sentence, a function, a record."""
    glue: str
    """The text between two units."""
    fill_open: str
    """The text before the words that fill up the length..."""
    fill_close: str = ""
    """...and after them."""
    open: str = ""
    """The text before the heading, a few words with which no other text starts."""
    heading_close: str = "\n"
    """The text between the heading and the first unit."""
    close: str = ""
    """The text at the very end."""
    own_words: bool = False
    """Whether the units' own words (or characters) fill up the length instead of common English words."""
