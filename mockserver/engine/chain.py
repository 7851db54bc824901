"""The hash chain of a token sequence: one hash per full block, over its tokens and everything before it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Chain:
    """The full blocks of a sequence, and the tokens of its last, incomplete block."""

    links: Sequence[int] = ()
    """64 bits each. Equal links mean equal tokens up to there."""
    rest: Sequence[int] = ()

    def extended(self, tokens: Sequence[int], block_tokens: int) -> Chain:
        """The chain of this sequence followed by more tokens."""
        links = array("Q", self.links)
        waiting = array("I", [*self.rest, *tokens])
        before = links[-1].to_bytes(8, "big") if links else b""
        stop = len(waiting) - len(waiting) % block_tokens
        for start in range(0, stop, block_tokens):
            before = blake2b(waiting[start : start + block_tokens].tobytes(), digest_size=8, key=before).digest()
            links.append(int.from_bytes(before, "big"))
        return Chain(links, waiting[stop:])
