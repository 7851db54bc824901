"""The only place where the mock creates random generators.

A stream depends only on (seed, purpose, key). The draws of one request never affect those of another, so plans are the
same at any concurrency and in any order of arrival.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

__all__ = ["Random", "stream"]


class _Stream(Random):
    """A generator seeded with an int. It skips the type checks of `Random.seed`."""

    def __init__(self, seed: int) -> None:
        super(Random, self).seed(seed)
        self.gauss_next = None


UNUSED = Random(0)
"""Passed where a generator is required but nothing is drawn."""


def stream(seed: int, purpose: str, key: int | str | tuple[str | int, ...]) -> Random:
    """An independent generator for this purpose and key, the same in every process and on every machine."""
    # repr of ints, strings and tuples of them is injective: index 5 and the id "5" are different keys.
    digest = blake2b(repr((seed, purpose, key)).encode(), digest_size=16).digest()
    return _Stream(int.from_bytes(digest, "big"))
