"""A metronome: arrival i at i/rate, computed from i rather than from the previous arrival, so that rounding does not
accumulate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bench.rng import Random


def offsets(rate: float, burstiness: float, rng: Random) -> Iterator[int]:
    """Offsets in ns, the first at 0."""
    del burstiness, rng  # Not random.
    for i in itertools.count():
        yield round(i / rate * 1e9)
