"""The distribution of a metric in each second of a run. It is mergeable, so that a page can compute the numbers of any
period.

A bin is a fortieth of an octave, rounded up to whole bins of `histogram`: at most 1.95% wide. Its representative, the
harmonic mean of its borders, is at most 0.97% away from any value in it. Values are in ns. Steps are one second, and double
in width when there are more than 400 of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from bench.clock import NS_PER_S
from bench.metrics.histogram import FINE_PER_OCTAVE, bins_of_array, counted
from bench.records.record_table import Floats, Ints

MOST_STEPS = 400
RELATIVE_ERROR = 0.01
"""The greatest relative error of a quantile read from such a histogram."""

PER_OCTAVE = 40
BORDERS = tuple(math.ceil(FINE_PER_OCTAVE * (2 ** (k / PER_OCTAVE) - 1)) for k in range(PER_OCTAVE + 1))
"""The first fine bin of each bin of an octave; the last entry is the end of the octave."""

_BIN_OF_FINE = np.searchsorted(BORDERS, np.arange(FINE_PER_OCTAVE), side="right") - 1
_MOST_BINS = 256 * PER_OCTAVE
"""A float32 has 256 octaves, without the sign."""
_BIAS = 127
"""The bias of a float32's exponent."""


def bins_of(fine: Ints) -> Ints:
    """The bins that contain the given bins of `histogram`."""
    octaves, within = np.divmod(fine, FINE_PER_OCTAVE)
    bins: Ints = octaves * PER_OCTAVE + _BIN_OF_FINE[within]
    return bins


def coarse(fine: Mapping[int, int]) -> dict[int, int]:
    """Converts counts by bin of `histogram` to counts by bin, in ascending order."""
    bins, places = np.unique(bins_of(np.fromiter(fine, np.int64, len(fine))), return_inverse=True)
    counts = np.bincount(places, np.fromiter(fine.values(), np.float64, len(fine)), len(bins))
    return dict(zip(bins.tolist(), counts.astype(np.int64).tolist(), strict=True))


def lower_border(number: int) -> float:
    """The least value of a bin, which is the end of the previous bin."""
    octave, within = divmod(number, PER_OCTAVE)
    return 2.0 ** (octave - _BIAS) * (1 + BORDERS[within] / FINE_PER_OCTAVE) if number else 0.0


def representative(number: int) -> float:
    """The value that represents all values of a bin."""
    low, high = lower_border(number), lower_border(number + 1)
    return 2 * low * high / (low + high)


def quantile(counts: Mapping[int, int], p: float) -> float:
    """The quantile of order p, as defined by `quantile.quantile`, within RELATIVE_ERROR."""
    ordered = sorted(counts)
    ends = [*accumulate(counts[number] for number in ordered)]
    position = (ends[-1] - 1) * p
    below = math.floor(position)
    low, high = (representative(ordered[bisect_right(ends, rank)]) for rank in (below, math.ceil(position)))
    return low + (high - low) * (position - below)


class StepHistograms:
    """Values by step; times count from the start of the run. The order of adding does not matter."""

    def __init__(self) -> None:
        self.width_ns = NS_PER_S
        self._counts: dict[int, Counter[int]] = {}

    def extend(self, times_ns: Ints, values: Ints | Floats) -> None:
        """Add values with their times, in any order."""
        if not len(times_ns):
            return
        bins = bins_of(bins_of_array(values))
        steps = times_ns // self.width_ns
        first = int(steps.min())
        for key, n in counted((steps - first) * _MOST_BINS + bins).items():
            self._counts.setdefault(first + key // _MOST_BINS, Counter())[key % _MOST_BINS] += n
        while len(self._counts) > MOST_STEPS:
            self._widen()

    def _widen(self) -> None:
        merged: dict[int, Counter[int]] = {}
        for step, counts in self._counts.items():
            merged.setdefault(step // 2, Counter()).update(counts)
        self._counts = merged
        self.width_ns *= 2

    def per_step(self, start_ns: int, step_ns: int, steps: int) -> list[dict[int, int]]:
        """The counts of bins in `steps` steps of `step_ns`, a multiple of the width, from `start_ns` on."""
        totals: list[Counter[int]] = [Counter() for _ in range(steps)]
        for step, counts in self._counts.items():
            totals[min(max((step * self.width_ns - start_ns) // step_ns, 0), steps - 1)].update(counts)
        return [dict(sorted(counts.items())) for counts in totals]
