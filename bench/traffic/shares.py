"""Assigns requests by shares: the class of traffic, or the model.

The draw is part of the plan: it depends only on the seed and the number of the request, so that workers, and the
process that makes requests in advance, need not coordinate.

Every block of BLOCK numbers has each name as often as its share requires, in an order that the seed shuffles.
Independent draws would make the counts of a run deviate by chance: 2,000 of 10,000 by 40, so that two runs of different
seeds compare different loads. In the shortest exact order (one in five: abcbb abcbb ...) the sequence would be
predictable, and two rare ones would never meet. Shuffled blocks are exact from block to block; within one, any
neighbours are possible.

A remainder that does not fit a block (one in three) is carried on to the next ones, so that each count stays within
about one of its share over all blocks so far: seats are assigned by Sainte-Laguë's method, which never takes one back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bench.rng import stream

BLOCK = 100


@dataclass(frozen=True, slots=True)
class Shares:
    """Names and their weights, in the given order."""

    names: tuple[str, ...]
    weights: tuple[float, ...]

    def place(self, seed: int, number: int) -> tuple[int, int]:
        """Which name the request with this number gets, by its index, and how many requests before it got the same."""
        block, within = divmod(number, BLOCK)
        return _block(self.names, self.weights, seed, block)[within]

    def of(self, seed: int, number: int) -> str:
        """The name that the request, or session, with this number gets."""
        return self.names[self.place(seed, number)[0]]


@lru_cache(maxsize=64)
def _block(names: tuple[str, ...], weights: tuple[float, ...], seed: int, block: int) -> list[tuple[int, int]]:
    before, behind = seats(weights, block * BLOCK), seats(weights, (block + 1) * BLOCK)
    order = [which for which in range(len(weights)) for _ in range(behind[which] - before[which])]
    stream(seed, "shares", *names, block).shuffle(order)
    places = []
    for which in order:
        places.append((which, before[which]))
        before[which] += 1
    return places


def seats(weights: Sequence[float], total: int) -> list[int]:
    """How many of `total` each gets: repeatedly, one more goes to the largest weight / (2n + 1), n being the number it
    already has."""
    # At this many seats per unit of weight everyone has their rounded number, which adds up to no more than `total`,
    # since rounding adds at most one half to each (the extra 1 covers floating-point rounding). The few remaining ones
    # are assigned one by one.
    sure = max(0.0, total - len(weights) / 2 - 1) / math.fsum(weights)
    counts = [max(0, math.ceil(weight * sure - 0.5)) for weight in weights]
    for _ in range(total - sum(counts)):
        most = max(range(len(weights)), key=lambda which: weights[which] / (2 * counts[which] + 1))
        counts[most] += 1
    return counts
