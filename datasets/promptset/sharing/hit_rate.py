"""A given hit rate: each prompt starts with whole blocks of its group's text, as many as give the requested share of
hits in a warm cache.

Of n tokens, h x n should be in whole blocks of 16. b = h x n / 16 is not an integer, so floor(b + u) blocks are taken
with u uniform on [0, 1): on average exactly b. The first prompts of a group have fewer hits; the tally accounts for
that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptset.rng import stream
from promptset.sharing.scheme import BLOCK, Key, Path, Room, SchemeSyntax


@dataclass(frozen=True, slots=True)
class HitRate:
    """Each of `groups` groups shares `hit_rate` of its prompt tokens. Prompts are assigned to groups in turn."""

    hit_rate: float
    groups: int

    def __str__(self) -> str:
        return f"hit_rate={self.hit_rate:g},groups={self.groups}"

    @property
    def least(self) -> int:
        return 0

    def path(self, index: int, seed: int, room: Room) -> Path:
        """The part of the group's text that, together with the head of the prompt, forms whole blocks."""
        blocks = math.floor(self.hit_rate * room.tokens / BLOCK + stream(seed, "hit rate", index).random())
        shared = min(blocks, (room.head + room.most) // BLOCK) * BLOCK - room.head
        return ((index % self.groups, shared),) if shared > 0 else ()


SYNTAX = SchemeSyntax(
    {"hit_rate": Key(0, 1, whole=False), "groups": Key(1, 1e9, default=1)},
    lambda values: HitRate(values["hit_rate"], int(values["groups"])),
    "hit_rate=0.6,groups=8",
)
