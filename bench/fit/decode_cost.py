"""What the decode tokens of a step cost together: a rising piecewise linear function.

A single line from 0 is the linear cost, b2 a token. A server whose decodes do not all cost the same (a CPU's cores, a
kernel chosen by the batch) has several pieces, each with its own slope of at least 0, so that the cost never falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The first piece reaches to 2: steps without a decode are rare, so b0 and the cost of one decode cannot be separated.
EDGES = (0, 2, 3, *(edge for power in range(2, 14) for edge in (2**power, 3 * 2 ** (power - 1))))
"""Where pieces may begin."""
LEAST_ROWS = 60
"""Rows that each piece needs."""


def pieces_of(tokens: Array) -> Array:
    """Each number of decode tokens, divided over the finest pieces: (n, pieces)."""
    widths = np.append(np.diff(EDGES).astype(np.float64), np.inf)
    return np.clip(tokens[:, None] - np.array(EDGES, dtype=np.float64), 0.0, widths)


def merged(pieces: Array, knots: Sequence[int]) -> Array:
    """The pieces between `knots`, which do not include 0: (n, len(knots) + 1)."""
    starts = [0, *(EDGES.index(knot) for knot in knots)]
    return np.asarray(np.add.reduceat(pieces, starts, axis=1))


def knots_for(mean_tokens: Array) -> tuple[int, ...]:
    """Knots such that each piece has enough rows, given the mean number of decode tokens of each row."""
    knots: list[int] = []
    left = np.sort(mean_tokens)
    for edge in EDGES[1:]:
        inside = int(np.searchsorted(left, edge, side="right"))
        if inside >= LEAST_ROWS and len(left) - inside >= LEAST_ROWS:
            knots.append(edge)
            left = left[inside:]
    return tuple(knots)


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """`slopes`: us a token for each piece; the last piece has no end."""

    knots: tuple[int, ...]
    slopes: tuple[float, ...]

    def us(self, tokens: Array) -> Array:
        """The cost of this many decode tokens in one step."""
        return np.asarray(merged(pieces_of(tokens), self.knots) @ np.array(self.slopes))
