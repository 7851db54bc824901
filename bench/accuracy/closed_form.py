"""The mock's own accuracy: what it did, compared with what its configuration promises (its GET /truth)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from bench.accuracy.distribution import Distribution

UNITS = {"ttft_ms": "ms", "tpot_ms": "ms", "itl_ms": "ms", "e2el_ms": "ms", "output_tokens": "tokens"}
_STATS = ("mean", "p50", "p90", "p95", "p99")
_SAME_LENGTH = 0.02


@dataclass(frozen=True, slots=True)
class Deviation:
    """What the mock did against what it promises. `noise`: what chance exceeds in 5 of 100 runs; None where not known."""

    metric: str
    stat: str
    unit: str
    expected: float
    done: float
    difference: float
    noise: float | None


class ClusteredMean:
    """The standard error of a mean over grouped values: the tokens of one request are not independent of each other. For k
    groups with sums S and sizes m it is that of the ratio of their sums:
    sqrt(sum (S - mean m)^2 k / (k - 1)) / sum m  (Cochran, Sampling Techniques, 6.4)."""

    __slots__ = ("_mm", "_sm", "_ss", "groups", "size", "total")

    def __init__(self) -> None:
        self.groups = self.size = 0
        self.total = self._ss = self._sm = self._mm = 0.0

    def add(self, total: float, size: int) -> None:
        """A group: the sum of its values, and how many they are."""
        self.groups += 1
        self.size += size
        self.total += total
        self._ss += total * total
        self._sm += total * size
        self._mm += size * size

    @property
    def standard_error(self) -> float | None:
        """None of fewer than two groups."""
        if self.groups < 2:
            return None
        mean = self.total / self.size
        squares = max(self._ss - 2 * mean * self._sm + mean * mean * self._mm, 0.0)
        return math.sqrt(squares * self.groups / (self.groups - 1)) / self.size


def against_closed_form(
    truth: Mapping[str, Any] | None, done: Mapping[str, Distribution], itl: ClusteredMean
) -> list[Deviation]:
    """A row for each number that the mock publishes: expected, done, and their difference; for means also the difference that
    chance exceeds in 5 of 100 runs. Latencies count from the arrival, as the plans do. `itl` has the gaps by request.

    E2EL is for replies of the lengths that the mock chooses: other lengths leave it out.
    """
    if truth is None:
        return []
    expected = truth.get("expected", {})
    lengths, length = done.get("output_tokens"), _number(expected.get("output_tokens"), "mean")
    as_chosen = (
        lengths is not None
        and lengths.n > 0
        and length is not None
        and abs(lengths.mean - length) <= _SAME_LENGTH * length
    )
    rows = []
    for metric, unit in UNITS.items():
        values = done.get(metric)
        if values is None or not values.n or (metric in ("e2el_ms", "output_tokens") and not as_chosen):
            continue
        stats = values.stats()
        for stat in _STATS:
            says = _number(expected.get(metric), stat)
            if says is not None and stat in stats:
                noise = _noise(values, itl if metric == "itl_ms" else None) if stat == "mean" else None
                done_stat = stats[stat]
                rows.append(Deviation(metric, stat, unit, says, done_stat, done_stat - says, noise))
    return rows


def _number(row: Any, stat: str) -> float | None:
    value = row.get(stat) if isinstance(row, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_Z = NormalDist().inv_cdf(0.975)
_LEAST = 5


def _noise(values: Distribution, groups: ClusteredMean | None) -> float | None:
    """The standard error of the mean times Student's t at 97.5%; None where there are too few values."""
    n = values.n if groups is None else groups.groups
    if n < _LEAST or values.std is None:
        return None
    error = values.std / math.sqrt(n) if groups is None else groups.standard_error
    return None if error is None else students_t(n - 1) * error


def students_t(freedom: int) -> float:
    """The quantile of order 0.975, by the expansion of Cornish and Fisher (Abramowitz and Stegun 26.7.5): 0.1% off with 4
    degrees of freedom, and less with more."""
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
