"""The one place where bench creates random generators.

Streams are keyed by purpose: `stream(seed, "arrivals")` and `stream(seed, "bootstrap", "ttft_ms")` are independent, and
adding a consumer never shifts the draws of another.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from hashlib import blake2b
from random import Random as Random  # Re-exported, so that other modules import it from here.


def stream(seed: int, *key: str | int) -> Random:
    """A generator that depends only on the seed and the key, the same in every process and on every machine."""
    digest = blake2b(repr((seed, *key)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def fresh_salt() -> str:
    """Sixteen hex digits, unique to a run, that determine the texts of its prompts (promptset.rng.text_stream)."""
    return os.urandom(8).hex()


def unique_id() -> str:
    """Eight hex digits, unique to a run, that name its requests and affect nothing else."""
    return os.urandom(4).hex()


def secret_token() -> str:
    """Forty-three characters that cannot be guessed."""
    return urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
