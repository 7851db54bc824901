"""The distribution of a metric in each second of a run, mergeable, so that a page can compute the numbers of any period.

A bin is a fortieth of an octave, rounded up to whole bins of `histogram`: at most 1.95% wide. Its representative, the
harmonic mean of its borders, is at most 0.97% away from any value in it. Values are in ns. Steps are one second, and double
in width when there are more than 400 of them.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.metrics.histogram import FINE_PER_OCTAVE, bin_numbers, bins_of_array, counted
from bench.metrics.per_request import NS_PER_S

if TYPE_CHECKING:
    from bench.run_files.record_blocks import Floats, Ints

MOST_STEPS = 400
RELATIVE_ERROR = 0.01
"""The greatest relative error of a quantile that is read from such a histogram."""

PER_OCTAVE = 40
BORDERS = tuple(math.ceil(FINE_PER_OCTAVE * (2 ** (k / PER_OCTAVE) - 1)) for k in range(PER_OCTAVE + 1))
"""Where the bins of an octave begin, in fine bins; the last one is the end of the octave."""

_BIN_OF_FINE = tuple(sum(border <= fine for border in BORDERS) - 1 for fine in range(FINE_PER_OCTAVE))
_FOLD_FROM = 4_096
_MOST_BINS = 256 * PER_OCTAVE
"""A float32 has 256 octaves, the sign left out."""
_BIAS = 127
"""Of the exponent of a float32."""


def bin_of(fine: int) -> int:
    """The bin that a bin of `histogram` lies in."""
    octave, within = divmod(fine, FINE_PER_OCTAVE)
    return octave * PER_OCTAVE + _BIN_OF_FINE[within]


def lower_border(number: int) -> float:
    """The least value of a bin, which is the end of the one before it."""
    octave, within = divmod(number, PER_OCTAVE)
    return 2.0 ** (octave - _BIAS) * (1 + BORDERS[within] / FINE_PER_OCTAVE) if number else 0.0


def representative(number: int) -> float:
    """The value that stands for all values of a bin."""
    low, high = lower_border(number), lower_border(number + 1)
    return 2 * low * high / (low + high)


def quantile(counts: Mapping[int, int], p: float) -> float:
    """The quantile of order p, by the definition of `quantile.quantile`, within RELATIVE_ERROR."""
    ordered = sorted(counts)
    position = (sum(counts.values()) - 1) * p
    below = math.floor(position)

    def at(rank: int) -> float:
        seen = 0
        for number in ordered:
            seen += counts[number]
            if rank < seen:
                return representative(number)
        return representative(ordered[-1])

    low, high = at(below), at(math.ceil(position))
    return low + (high - low) * (position - below)


class StepHistograms:
    """Values by the step that they fall into; times count from the start of the run. The order of adding does not matter."""

    def __init__(self) -> None:
        self.width_ns = NS_PER_S
        self._counts: dict[int, Counter[int]] = {}
        self._held: defaultdict[int, array[float]] = defaultdict(lambda: array("f"))

    def extend(self, ascending_ns: Sequence[int], values: Sequence[float]) -> None:
        """Add values with their times, which ascend."""
        position, n = 0, len(ascending_ns)
        while position < n:
            step = ascending_ns[position] // self.width_ns
            end = bisect_left(ascending_ns, (step + 1) * self.width_ns, position)
            self._hold(step, values[position:end])
            position = end

    def extend_array(self, times_ns: Ints, values: Ints | Floats) -> None:
        """`extend` for arrays, in any order of the times."""
        import numpy as np

        if not len(times_ns):
            return
        fine = bins_of_array(values)
        bins = fine // FINE_PER_OCTAVE * PER_OCTAVE + np.array(_BIN_OF_FINE)[fine % FINE_PER_OCTAVE]
        steps = times_ns // self.width_ns
        first = int(steps.min())
        for key, n in counted((steps - first) * _MOST_BINS + bins).items():
            step, number = first + key // _MOST_BINS, key % _MOST_BINS
            counts = self._counts.get(step)
            if counts is None:
                counts = self._counts[step] = Counter()
                self._held[step]
            counts[number] += n
        if len(self._held) > MOST_STEPS:
            self._widen()

    def _hold(self, step: int, values: Sequence[float]) -> None:
        held = self._held[step]
        held.extend(values)
        if len(held) >= _FOLD_FROM:
            self._fold(step)
        if len(self._held) > MOST_STEPS:
            self._widen()

    def _fold(self, step: int) -> None:
        counts = self._counts.setdefault(step, Counter())
        for fine, n in Counter(bin_numbers(self._held[step])).items():
            counts[bin_of(fine)] += n
        self._held[step] = array("f")

    def _widen(self) -> None:
        while len(self._held) > MOST_STEPS:
            for step in list(self._held):
                self._fold(step)
            merged: dict[int, Counter[int]] = {}
            for step, counts in self._counts.items():
                merged.setdefault(step // 2, Counter()).update(counts)
            self._counts = merged
            self._held = defaultdict(lambda: array("f"), {step: array("f") for step in merged})
            self.width_ns *= 2

    def per_step(self, start_ns: int, step_ns: int, steps: int) -> list[dict[int, int]]:
        """The counts of bins in `steps` steps of `step_ns` from `start_ns` on, a multiple of the width."""
        for step in list(self._held):
            self._fold(step)
        found: list[Counter[int]] = [Counter() for _ in range(steps)]
        for step, counts in self._counts.items():
            found[min(max((step * self.width_ns - start_ns) // step_ns, 0), steps - 1)].update(counts)
        return [dict(sorted(counts.items())) for counts in found]
