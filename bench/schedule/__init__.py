"""When requests are sent: pure, seeded iterators of offsets from the start, in ns, independent of the sending.

A new arrival process is one file with a function `offsets(rate, burstiness, rng)` and one line in ARRIVALS, plus one in
SHAPED if burstiness is the shape of its gaps. Each follows these rules: offsets never decrease; doubling the rate
halves them; the first n do not depend on how many are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bench.rng import Random
from bench.schedule import constant, gamma, poisson


class ArrivalProcess(Protocol):
    """Offsets in ns for `rate` arrivals per second; `burstiness` is the shape of the gaps, if the process has one."""

    def __call__(self, rate: float, burstiness: float, rng: Random) -> Iterator[int]: ...


ARRIVALS: dict[str, ArrivalProcess] = {
    "poisson": poisson.offsets,
    "gamma": gamma.offsets,
    "constant": constant.offsets,
}

SHAPED = ("gamma",)
"""The processes that `--burstiness` shapes. It chooses the first one if no process is named."""
