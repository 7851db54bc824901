"""The only module of promptset that creates random generators.

A seed, a purpose and an id select a stream, so drawing more from one stream never changes another. Only `random()` is
used, because Python guarantees its values across versions.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

__all__ = ["Random", "stream", "text_stream"]


def stream(seed: int, *key: str | int) -> Random:
    """An independent generator for this seed and key, the same in every process and Python version.

    `stream(7, "input_tokens", 3)` and `stream(7, "input_tokens", "3")` differ: parts of different types are different keys.
    """
    # repr of a tuple of str and int is injective and the same everywhere; 16 bytes make collisions of keys impossible.
    digest = blake2b(repr((int(seed), *key)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def text_stream(seed: int, salt: str | None, *key: str | int) -> Random:
    """The stream for a text. A salt selects other texts for the same seed; lengths and sharing depend on the seed
    alone.

    Without a salt, the texts also depend on the seed alone.
    """
    return stream(seed, *key) if salt is None else stream(seed, "salt", salt, *key)
