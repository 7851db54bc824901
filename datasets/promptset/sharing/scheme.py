"""Named segments of shared text: the interface between schemes, the generated text, and their tally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Segment = tuple[str | int, int]
"""A name and a number of tokens. A name identifies a text; a prompt takes its first tokens."""

Path = tuple[Segment, ...]
"""The shared segments that a prompt starts with, in order."""

BLOCK = 16
"""Tokens per block of a server's prefix cache, which stores whole blocks (16 is vLLM's default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room in a prompt of `tokens` tokens: `head` tokens of the tokenizer or template, which are the same in every
    prompt, then at most `most` tokens of shared text."""

    tokens: int
    head: int
    most: int


class Scheme(Protocol):
    """A scheme by which prompts share prefixes."""

    @property
    def least(self) -> int:
        """Tokens of shared text that every prompt must have room for."""

    def path(self, index: int, seed: int, room: Room) -> Path:
        """The shared segments of the prompt with this index."""


@dataclass(frozen=True, slots=True)
class Key:
    """A parameter of a scheme: its minimum, its maximum, and its default (None: required)."""

    low: float
    high: float
    default: float | None = None
    whole: bool = True

    def read(self, name: str, text: str) -> tuple[float | None, str | None]:
        """The value, or the problem with it."""
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
    """The syntax of a scheme: `named` ones start with their name and a colon, others are recognized by their keys."""

    keys: Mapping[str, Key]
    build: Callable[[Mapping[str, float]], Scheme]
    """Builds the scheme from the values of its keys. Raises SpecError if they contradict each other."""
    example: str
    named: bool = False


COUNT = Key(1, 1e9)
