"""Independent users: exponential gaps of mean 1/rate, coefficient of variation 1."""

from __future__ import annotations

from collections.abc import Iterator

from bench.rng import Random


def offsets(rate: float, burstiness: float, rng: Random) -> Iterator[int]:
    """Offsets in ns. The unit process is drawn and then scaled, so that the rate stretches time and changes nothing
    else."""
    del burstiness  # Only the gamma process uses it.
    unit_time = 0.0
    while True:
        unit_time += rng.expovariate(1.0)
        yield round(unit_time / rate * 1e9)
