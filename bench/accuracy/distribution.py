"""Keeps many values in bounded memory, and computes their quantiles. Shares nothing with bench.metrics.

Up to `exact` values are kept as they are. Beyond that, each value is cut to the first 14 of its 52 bits of mantissa and
counted: 16,384 bins per octave, so a quantile is at most 2**-15 = 0.003% off, a thirtieth of the error of the measuring
side's histograms.

Quantiles are linear between order statistics, at position (n - 1) p counted from 0, as in numpy and the report.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

EXACT = 200_000
_CUT_BITS = 52 - 14
_SIGN = 1 << 63

STATS = ("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max")
"""The statistics of a metric that are compared."""

_LEVELS = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Distribution:
    """Values of one kind; they may be negative."""

    __slots__ = ("_counts", "_cumulative", "_exact", "_ordered", "_sum", "_values", "max", "min", "n")

    def __init__(self, exact: int = EXACT) -> None:
        self._exact = exact
        self._values = array("d")
        self._counts: Counter[int] | None = None
        self._ordered: array[float] | None = None
        self._cumulative: list[int] = []
        self._sum = 0.0
        self.n = 0
        self.min = math.inf
        self.max = -math.inf

    def add(self, values: Iterable[float]) -> None:
        new = array("d", values)
        if not new:
            return
        self._ordered = None
        self.n += len(new)
        self.min, self.max = min(self.min, min(new)), max(self.max, max(new))
        self._sum += math.fsum(new)
        if self._counts is not None:
            self._counts.update(_bins(new))
            return
        self._values.extend(new)
        if len(self._values) > self._exact:
            self._counts = Counter(_bins(self._values))
            self._values = array("d")

    def add_all(self, other: Distribution) -> None:
        if other._counts is None:
            self.add(other._values)
            return
        self._ordered = None
        if self._counts is None:
            self._counts = Counter(_bins(self._values))
            self._values = array("d")
        self._counts.update(other._counts)
        self.n += other.n
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self._sum += other._sum

    @property
    def mean(self) -> float:
        """The mean. Raises ZeroDivisionError if there are no values."""
        return self._sum / self.n

    def at_rank(self, rank: int) -> float:
        """The value at a rank, 0 for the least."""
        ordered = self._in_order()
        if self._counts is None:
            return ordered[rank]
        if rank in (0, self.n - 1):  # The minimum and the maximum are known exactly.
            return self.max if rank else self.min
        return min(max(ordered[bisect_right(self._cumulative, rank)], self.min), self.max)

    def quantile(self, p: float) -> float:
        """The quantile of order p. Raises IndexError if there are no values."""
        position = (self.n - 1) * p
        below = math.floor(position)
        low, high = self.at_rank(below), self.at_rank(min(below + 1, self.n - 1))
        # A value may be infinite: if all tokens came at once, the speed has no upper bound.
        return low if low == high or position == below else low + (high - low) * (position - below)

    def count_below(self, limit: float) -> int:
        """The number of values below a limit."""
        position = bisect_left(self._in_order(), limit)
        if self._counts is None:
            return position
        return self._cumulative[position - 1] if position else 0

    def stats(self) -> dict[str, float]:
        """STATS of the values; empty if there are none. p99.9 needs at least 1,000 values."""
        if not self.n:
            return {}
        quantiles = {s: self.quantile(p) for s, p in _LEVELS.items() if s != "p999" or self.n >= 1_000}
        return {"mean": self.mean, **quantiles, "max": self.max}

    def _in_order(self) -> array[float]:
        if self._ordered is None:
            if self._counts is None:
                self._ordered = self._values = array("d", sorted(self._values))
            else:
                rows = sorted((_middle(number), count) for number, count in self._counts.items())
                self._ordered = array("d", [value for value, _ in rows])
                self._cumulative = list(accumulate(count for _, count in rows))
        return self._ordered


def _bins(values: array[float]) -> Iterable[int]:
    return (bits >> _CUT_BITS for bits in memoryview(values).cast("B").cast("Q"))


def _middle(number: int) -> float:
    """The middle of a bin. The sign is the highest bit of a float, and so of its bin."""
    bits = number << _CUT_BITS
    if bits & (_SIGN - 1):
        bits |= 1 << (_CUT_BITS - 1)
    middle: float = struct.unpack("d", struct.pack("Q", bits))[0]
    return middle
