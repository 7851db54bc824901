"""A tree: a prompt starts with the segments on a path from the root to a leaf. Two prompts share the common part of
their paths. Leaves are assigned in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptset.errors import SpecError
from promptset.sharing.scheme import COUNT, Key, Path, Room, Scheme, SchemeSyntax

_MOST_LEAVES = 10**9


@dataclass(frozen=True, slots=True)
class Tree:
    """`depth` levels of `tokens` tokens each. All prompts share the first level; a node has `fanout` children."""

    depth: int
    fanout: int
    tokens: int

    def __str__(self) -> str:
        return f"tree:depth={self.depth},fanout={self.fanout},tokens={self.tokens}"

    @property
    def least(self) -> int:
        return self.depth * self.tokens

    def path(self, index: int, seed: int, room: Room) -> Path:
        """The nodes from the root to the prompt's leaf."""
        leaf = index % self.fanout ** (self.depth - 1)
        nodes = [leaf // self.fanout ** (self.depth - 1 - level) for level in range(self.depth)]
        return tuple((f"level {level}, node {node}", self.tokens) for level, node in enumerate(nodes))


def _build(values: Mapping[str, float]) -> Scheme:
    depth, fanout, tokens = (int(values[key]) for key in ("depth", "fanout", "tokens"))
    if fanout ** (depth - 1) > _MOST_LEAVES:
        raise SpecError(f"depth={depth} and fanout={fanout} make over {_MOST_LEAVES:g} leaves: use less of one of them")
    return Tree(depth, fanout, tokens)


SYNTAX = SchemeSyntax(
    {"depth": Key(1, 64), "fanout": Key(1, 1e6), "tokens": COUNT},
    _build,
    "tree:depth=3,fanout=4,tokens=256",
    named=True,
)
