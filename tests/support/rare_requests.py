"""Means over requests of which a few take much longer: how often an interval contains the overall mean."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from bench.metrics import precision
from bench.statistics.autocorrelation import Floats
from bench.statistics.intervals import Interval, mean_interval

RATE = 10.0
"""Requests per second."""


@dataclass(frozen=True, slots=True)
class Rare:
    """A share of the requests takes `times` times as long as the others, which vary by 20%."""

    share: float
    times: float

    @property
    def mean(self) -> float:
        return float(1 + self.share * (self.times - 1)) * float(np.exp(0.2**2 / 2))

    def values(self, number: int, seed: int) -> Floats:
        rng = np.random.default_rng([seed, number])
        return np.where(rng.random(number) < self.share, self.times, 1.0) * rng.lognormal(0.0, 0.2, number)

    def held(self, number: int, runs: int) -> float:
        """The share of intervals after `number` requests that contain the mean."""
        return sum(self._holds(self.values(number, seed)) for seed in range(runs)) / runs

    def held_at_stop(self, within: float, cap_s: float, runs: int) -> tuple[int, float]:
        """How many runs end before a cap because half of the interval is at most that share of the mean, and the share
        of their intervals that contain it."""
        held = []
        for seed in range(runs):
            values = self.values(round(RATE * cap_s), seed)
            for at_s in takewhile(lambda at_s: at_s < cap_s, precision.look_times(cap_s)):
                seen = values[: round(RATE * at_s)]
                found = mean_interval(seen)
                if isinstance(found, Interval) and (found.high - found.low) / 2 <= within * float(seen.mean()):
                    held.append(self._holds(seen))
                    break
        return len(held), sum(held) / max(1, len(held))

    def _holds(self, values: Floats) -> bool:
        found = mean_interval(values)
        return isinstance(found, Interval) and found.low <= self.mean <= found.high
