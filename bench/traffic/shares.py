"""Which of several a request gets, by their shares: the class of traffic, or the model.

The draw is part of the plan: it depends on the seed and the number of the request alone, so that workers, and the process
that makes requests ahead, need not agree on it.

Every block of BLOCK numbers has each of them as often as its share says, in an order of its own that the seed shuffles. Drawn
one by one, the counts of a run would be off by chance: 2,000 of 10,000 by 40, so that two runs of different seeds compare
different loads. In the shortest order that is exact (one in five: abcbb abcbb ...) what follows could be told from what came
before, and no two of the rare ones would ever meet. Shuffled blocks are exact from block to block; within one, any neighbours
are possible.

What does not divide a block (one in three) is carried on to the next ones, so that what each has got stays within about one
of its share of all blocks so far: seats are given as Sainte-Laguë gives them, which never takes one back.
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
    """Names and their weights, in the order in which they were given. One of several if there is more than one."""

    names: tuple[str, ...]
    weights: tuple[float, ...]

    def place(self, seed: int, number: int) -> tuple[int, int]:
        """Which one the request with this number gets, and how many requests before it got that one."""
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
    """How many of `total` each gets: again and again one more goes to whose weight over 2n + 1 is greatest, n being what it
    has."""
    # At this many turns for each unit of weight all have theirs, rounded, and that is no more than `total`, since rounding
    # adds at most one half to each (the one more is for what floats round). The few that are left are given one by one.
    sure = max(0.0, total - len(weights) / 2 - 1) / math.fsum(weights)
    given = [max(0, math.ceil(weight * sure - 0.5)) for weight in weights]
    for _ in range(total - sum(given)):
        most = max(range(len(weights)), key=lambda which: weights[which] / (2 * given[which] + 1))
        given[most] += 1
    return given
