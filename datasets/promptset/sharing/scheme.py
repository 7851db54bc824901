"""What a prompt begins with, named: the seam between ways of sharing, the text that is made of them, and their tally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Segment = tuple[str | int, int]
"""A name and a number of tokens. One name is one text, of which a prompt takes the first tokens."""

Path = tuple[Segment, ...]
"""The shared segments that a prompt begins with, in their order."""

BLOCK = 16
"""Tokens of a block of a server's prefix cache, which keeps whole blocks alone (16 is the default of vLLM)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a prompt of `tokens` tokens has room for: `head` tokens that are the same in every prompt come first (what
    the tokenizer or the template puts there), then at most `most` tokens of shared text."""

    tokens: int
    head: int
    most: int


class Scheme(Protocol):
    """One way in which prompts share beginnings."""

    @property
    def least(self) -> int:
        """Tokens of shared text that every prompt must have room for."""

    def path(self, index: int, seed: int, room: Room) -> Path:
        """What the prompt with this index begins with."""


@dataclass(frozen=True, slots=True)
class Key:
    """A number of a way: its least and greatest value, and what it is when it is not said (None: it must be)."""

    low: float
    high: float
    default: float | None = None
    whole: bool = True

    def read(self, name: str, text: str) -> tuple[float | None, str | None]:
        """The value, or what is wrong with it."""
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            value = None
        if value is None or not text.isascii() or not self.low <= value <= self.high:
            kind = "a whole number" if self.whole else "a number"
            limits = f"from {self.low:g} to {self.high:g}" if self.high < 1e9 else "above 0"
            return None, f"{name}={text}: write {kind} {limits}"
        return value, None


@dataclass(frozen=True, slots=True)
class SchemeSyntax:
    """How a way is written: `named` ones begin with their name and a colon, the others are known by their first key."""

    keys: Mapping[str, Key]
    build: Callable[[Mapping[str, float]], Scheme]
    """Makes the way of the values of its keys; raises SpecError where they do not go together."""
    example: str
    named: bool = False


COUNT = Key(1, 1e9)
