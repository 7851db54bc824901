"""The one place where bench makes generators of chance.

Streams are keyed by what they are for: `stream(seed, "arrivals")` and `stream(seed, "bootstrap", "ttft_ms")` are
independent, and adding a consumer never shifts what another one draws.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from hashlib import blake2b
from random import Random as Random  # Named again so that others take it from here.


def stream(seed: int, *key: str | int) -> Random:
    """A generator that depends on the seed and the key alone, the same in every process and on every machine."""
    digest = blake2b(repr((seed, *key)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def fresh_salt() -> str:
    """Sixteen hex digits that no other run has: they decide the texts of its prompts (promptset.rng.text_stream)."""
    return os.urandom(8).hex()


def unique_id() -> str:
    """Eight hex digits that no other run has: they name a run's requests, and decide nothing."""
    return os.urandom(4).hex()


def secret_token() -> str:
    """Forty-three characters that nobody guesses."""
    return urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
