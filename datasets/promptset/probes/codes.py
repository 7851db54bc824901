"""Code words such as `MARBLE-40281`, unique within a run.

A number is mapped to a code by x -> (x * STEP + offset) modulo SPACE. STEP and SPACE are coprime, so this is one to
one. The offset depends on the seed and the salt, so that other runs have other codes.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from promptset.rng import Random, text_stream

CODE = re.compile(r"\b[A-Z]{5,7}-\d{5}\b")
"""The form of a code, anywhere in a text."""

_WORDS = 256
_DIGITS = 90_000  # 10000 to 99999: always five digits
SPACE = _WORDS * _DIGITS
_STEP = 14_239_301  # A prime near SPACE / golden ratio, so that consecutive codes look different.

SLOTS = 16
"""The number of slots. A kind of probe has its own slot, and the last one is for decoys."""
_DECOYS = SLOTS - 1
MOST = SPACE // SLOTS
"""The number of codes per slot."""


@functools.cache
def words() -> tuple[str, ...]:
    """Common English words of 5 to 7 letters."""
    candidates = Path(__file__).parents[1].joinpath("words.txt").read_text(encoding="utf-8").split()
    return tuple(dict.fromkeys(word for word in candidates if 5 <= len(word) <= 7))


def code(seed: int, salt: str | None, slot: int, index: int) -> str:
    """The code with this index in a slot."""
    return _code((index * SLOTS + slot) * _STEP + _offset(seed, salt))


def decoy(seed: int, salt: str | None, rng: Random) -> str:
    """A code that is never the right answer to any probe."""
    return code(seed, salt, _DECOYS, int(rng.random() * MOST))


def codes_in(text: str) -> list[str]:
    """The codes in a text, in order."""
    return CODE.findall(text)


@functools.lru_cache(maxsize=64)
def _offset(seed: int, salt: str | None) -> int:
    return int(text_stream(seed, salt, "probe codes").random() * SPACE)


def _code(number: int) -> str:
    word, digits = divmod(number % SPACE, _DIGITS)
    return f"{words()[word].upper()}-{10_000 + digits}"
