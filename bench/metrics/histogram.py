"""A distribution in bounded memory: exact while it is small, then a mergeable log histogram with a relative error <=
0.1%.

The bins come from the float itself: a float32 with the last 14 of its 23 mantissa bits cut off. Each octave has 2**9 =
512 bins, a bin is at most 2**-9 of its value wide, and its middle is at most 2**-10 = 0.098% from any value in it.
Binning n values takes two C loops and no logarithm.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from bench.metrics.arrays import sum_of_squares
from bench.metrics.quantile import NO_VALUES, quantile
from bench.results.numbers import QUANTILES, Statistics

RELATIVE_ERROR = 2.0**-10
"""The greatest relative error of a quantile read from a folded histogram."""

_CUT_BITS = 14
FINE_PER_OCTAVE = 512
_DENSE = 1 << 15
"""Numbers with a wider range than this, and than four times their count, are sorted; others index an array of counts."""


def bins_of_array(values: npt.NDArray[np.number]) -> npt.NDArray[np.int64]:
    """The bin number of each value, ascending with the value: 512 for each octave of a float32."""
    return (values.astype(np.float32).view(np.uint32) >> _CUT_BITS).astype(np.int64)


def counted(numbers: npt.NDArray[np.int64]) -> dict[int, int]:
    """How often each number occurs. At least one whole number is required."""
    low = int(numbers.min())
    if int(numbers.max()) - low > max(_DENSE, 4 * len(numbers)):
        values, counts = np.unique(numbers, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    counts = np.bincount(numbers - low)
    values = np.flatnonzero(counts)
    return dict(zip((values + low).tolist(), counts[values].tolist(), strict=True))


def _middles(numbers: Sequence[int]) -> list[float]:
    of = np.array(numbers, dtype=np.uint32)
    half = np.where(of > 0, np.uint32(1 << (_CUT_BITS - 1)), np.uint32(0))
    middles: list[float] = ((of << np.uint32(_CUT_BITS)) + half).view(np.float32).tolist()
    return middles


def _middle(number: int) -> float:
    return _middles((number,))[0]


class LogHistogram:
    """Durations in ns, >= 0. Adding and merging give the same result in any order, because the sums are whole numbers."""

    __slots__ = ("_bins", "_exact", "count", "max", "min", "total", "total_of_squares")

    def __init__(self) -> None:
        self._exact: array[float] | None = array("d")
        self._bins: Counter[int] = Counter()
        self.count = 0
        self.min = math.inf
        self.max = -math.inf
        self.total = 0
        self.total_of_squares = 0

    @property
    def exact(self) -> bool:
        """Whether every value is still stored."""
        return self._exact is not None

    def extend(self, values: npt.ArrayLike, total: int | None = None) -> None:
        """Add values. The sums use values rounded to whole numbers; `total` replaces the sum of the values.

        Raises FloatingPointError if a value does not fit into 64 bits, as from a damaged file.
        """
        values = np.asarray(values)
        if not len(values):
            return
        with np.errstate(invalid="raise"):
            whole = np.rint(values).astype(np.int64)
        self.count += len(values)
        self.min, self.max = min(self.min, values.min().item()), max(self.max, values.max().item())
        self.total += int(whole.sum()) if total is None else total
        self.total_of_squares += sum_of_squares(whole)
        if self._exact is None:
            self._bins.update(counted(bins_of_array(values)))
        else:
            self._exact.frombytes(values.astype("f8").tobytes())

    def fold(self) -> None:
        """Discard the values themselves; from here on, quantiles are within RELATIVE_ERROR."""
        if self._exact is not None:
            self._count_bins(self._exact)
            self._exact = None

    @property
    def bins(self) -> Counter[int]:
        """The number of values in each bin; empty while every value is stored."""
        return self._bins

    def _count_bins(self, values: array[float]) -> None:
        if values:
            self._bins.update(counted(bins_of_array(np.frombuffer(values))))

    def merge(self, other: LogHistogram) -> None:
        """Add everything in the other histogram. The result is exact if both were."""
        if not other.count and other.exact:
            return  # Most histograms of a run are empty.
        self.count += other.count
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)
        self.total += other.total
        self.total_of_squares += other.total_of_squares
        if other._exact is None:
            self.fold()
            self._bins.update(other._bins)
        elif self._exact is None:
            self._count_bins(other._exact)
        else:
            self._exact.extend(other._exact)

    def copy(self) -> LogHistogram:
        made = LogHistogram()
        made.count, made.min, made.max = self.count, self.min, self.max
        made.total, made.total_of_squares = self.total, self.total_of_squares
        made._exact = None if self._exact is None else self._exact[:]
        made._bins = self._bins.copy()
        return made

    def remove(self, other: LogHistogram) -> None:
        """Remove values, all of which must be in this histogram. If it is folded and the minimum or maximum is removed,
        the new one is the middle of a bin."""
        if not other.count:
            return
        self.count -= other.count
        self.total -= other.total
        self.total_of_squares -= other.total_of_squares
        if self._exact is not None and other._exact is not None:
            self._exact = array("d", (Counter(self._exact) - Counter(other._exact)).elements())
            self.min, self.max = min(self._exact, default=math.inf), max(self._exact, default=-math.inf)
            return
        self.fold()
        bins = Counter(counted(bins_of_array(np.frombuffer(other._exact)))) if other._exact is not None else other._bins
        self._bins -= bins
        if not self._bins:
            self.min, self.max = math.inf, -math.inf
            return
        if other.min == self.min:
            self.min = _middle(min(self._bins))
        if other.max == self.max:
            self.max = _middle(max(self._bins))

    def snapshot(self) -> Snapshot:
        """The current distribution, in order, for reading."""
        return Snapshot(self)


class Snapshot:
    """A histogram in ascending order, with its quantiles and counts."""

    def __init__(self, histogram: LogHistogram) -> None:
        self._histogram = histogram
        self.n = histogram.count
        if histogram._exact is not None:
            self._values: list[float] = np.sort(np.frombuffer(histogram._exact)).tolist() if histogram._exact else []
            self._cumulative: list[int] | None = None
        else:
            # min and max are known exactly, so no middle of a bin may lie outside them.
            low, high = histogram.min, histogram.max
            bins = histogram._bins
            ascending = sorted(bins)
            self._values = [min(max(middle, low), high) for middle in _middles(ascending)]
            self._cumulative = list(accumulate(map(bins.__getitem__, ascending)))

    def _at(self, rank: int) -> float:
        if rank == 0:
            return self._histogram.min
        if rank == self.n - 1:
            return self._histogram.max
        assert self._cumulative is not None
        return self._values[bisect_right(self._cumulative, rank)]

    def quantile(self, p: float) -> float:
        """The quantile of order p, as defined by `quantile.quantile`."""
        if self._cumulative is None:
            return quantile(self._values, p)
        position = (self.n - 1) * p
        below = math.floor(position)
        low, high = self._at(below), self._at(min(below + 1, self.n - 1))
        return low + (high - low) * (position - below)

    def at_rank(self, rank: int) -> float:
        """The value at a rank, 0 for the least."""
        return self._values[rank] if self._cumulative is None else self._at(rank)

    def count_above(self, limit: float) -> int:
        """The number of values above the limit (in a folded histogram, of values in bins whose middle is above it)."""
        position = bisect_right(self._values, limit)
        if self._cumulative is None:
            return self.n - position
        return self.n - (self._cumulative[position - 1] if position else 0)

    def describe(self, scale: float = 1.0) -> Statistics:
        """The statistics of `quantile.describe`, with each value multiplied by the scale."""
        h = self._histogram
        if not h.count:
            return NO_VALUES
        mean = h.total / h.count
        # Whole numbers until the division: the difference of two large floats would lose a small spread.
        spread = max(h.count * h.total_of_squares - h.total * h.total, 0) / h.count
        std = math.sqrt(spread / (h.count - 1)) * scale if h.count > 1 else None
        quantiles = {name: self.quantile(p) * scale for name, p in QUANTILES.items()}
        return Statistics(n=h.count, mean=mean * scale, std=std, min=h.min * scale, max=h.max * scale, **quantiles)
