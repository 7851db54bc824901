"""Good or bad properties of a single text, and the position where two texts differ."""

from __future__ import annotations

LONGEST_UNIT = 200
"""The most characters in the repeated piece of a loop."""
LEAST_TIMES, LEAST_LOOP = 5, 60
"""A loop repeats its piece at least this many times, over at least this many characters."""


def first_difference(text: str, other: str) -> int | None:
    """The index of the first character at which two texts differ. Returns None if they are the same."""
    if text == other:
        return None
    for at, (left, right) in enumerate(zip(text, other, strict=False)):
        if left != right:
            return at
    return min(len(text), len(other))


def readable(text: str) -> bool:
    """Whether the text is free of broken characters: U+FFFD, and halves of surrogate pairs."""
    return not any(character == "\ufffd" or "\ud800" <= character <= "\udfff" for character in text)


def loops(text: str) -> bool:
    """Whether the text ends in a loop: a piece of at most LONGEST_UNIT characters, repeated LEAST_TIMES or more."""
    tail = text.rstrip()[-(LEAST_TIMES + 1) * LONGEST_UNIT :]
    for unit in range(1, min(LONGEST_UNIT, len(tail) // LEAST_TIMES) + 1):
        length = max(LEAST_TIMES * unit, LEAST_LOOP)
        if length <= len(tail) and tail[-length:-unit] == tail[-length + unit :]:
            return True
    return False
