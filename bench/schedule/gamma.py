"""Gamma gaps: burstiness is their shape, so that CV = 1/sqrt(burstiness). 1 is Poisson, below 1 bursts, above 1 evens
out."""

from __future__ import annotations

from collections.abc import Iterator

from bench.rng import Random


def offsets(rate: float, burstiness: float, rng: Random) -> Iterator[int]:
    """Offsets in ns. Gaps of shape B and scale 1/B have mean 1 for any B; the rate then scales time."""
    unit_time = 0.0
    while True:
        unit_time += rng.gammavariate(burstiness, 1.0 / burstiness)
        yield round(unit_time / rate * 1e9)
