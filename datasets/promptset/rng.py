"""The one place of promptset that makes random generators.

A stream is keyed by a seed, a purpose and whatever names the thing that is drawn, so that drawing more of one thing
never changes another. Of a stream only `random()` is used, whose values Python promises to keep between versions.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

__all__ = ["Random", "stream"]


def stream(seed: int, *key: str | int) -> Random:
    """An independent generator for this seed and key: the same in every process and on every Python.

    `stream(7, "input_tokens", 3)` and `stream(7, "input_tokens", "3")` differ: a key is its parts and their types.
    """
    # repr of a tuple of str and int is injective and the same everywhere; 16 bytes make collisions of keys impossible.
    digest = blake2b(repr((int(seed), *key)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))
