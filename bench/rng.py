"""The one place where bench makes generators of chance.

Streams are keyed by what they are for: `stream(seed, "arrivals")` and `stream(seed, "bootstrap", "ttft_ms")` are
independent, and adding a consumer never shifts what another one draws.
"""

from __future__ import annotations

import random
from hashlib import blake2b


def stream(seed: int, *key: str | int) -> random.Random:
    """A generator that depends on the seed and the key alone, the same in every process and on every machine."""
    digest = blake2b(repr((seed, *key)).encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))
