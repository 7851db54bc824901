"""Amounts over time, in bounded memory: the number of tokens, or bytes, in each slot of the run.

Slots double in width when there are more than 4,096 of them, so the resolution of any run is a few thousandths of its
length.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from bench.clock import NS_PER_S
from bench.metrics.histogram import counted
from bench.records.record_table import Ints

MAX_SLOTS = 4_096
FINEST_NS = NS_PER_S // 128


class Arrivals:
    """Whole amounts by time of arrival, in ns from the start of the run. The order of adding does not matter."""

    __slots__ = ("slots", "width_ns")

    def __init__(self, width_ns: int = FINEST_NS) -> None:
        self.width_ns = width_ns
        self.slots: Counter[int] = Counter()

    def add(self, times_ns: Ints, amounts: Ints | None = None) -> None:
        """Add amounts at some times; without `amounts`, one at each."""
        if not len(times_ns):
            return
        slots = times_ns // self.width_ns
        if amounts is None:
            self.slots.update(counted(slots))
        else:
            order = np.argsort(slots, kind="stable")
            slots = slots[order]
            begins = np.flatnonzero(np.append(True, np.diff(slots) > 0))
            sums = np.add.reduceat(amounts[order], begins)
            for slot, amount in zip(slots[begins].tolist(), sums.tolist(), strict=True):
                self.slots[slot] += amount
        self._widen()

    def spread(self, times_ns: Ints, starts: Ints, amounts: Ints) -> None:
        """Spread each amount evenly over its own times, which ascend and begin at its entry in `starts`. The shares are
        whole numbers and add up to the amount. Every amount has at least one time."""
        if not len(starts):
            return
        slots = times_ns // self.width_ns
        ends = np.append(starts[1:], len(slots))
        # The last time of each row in each slot. Up to there, a share of the amount is assigned, in whole numbers.
        is_last = np.append(slots[1:] != slots[:-1], True)
        is_last[ends - 1] = True
        last = np.flatnonzero(is_last)
        row = np.searchsorted(ends, last, side="right")
        begins, ends_at = np.append(0, last[:-1] + 1) - starts[row], last + 1 - starts[row]
        columns = (slots[last], amounts[row], (ends - starts)[row], begins, ends_at)
        for slot, amount, n, begin, end in zip(*(column.tolist() for column in columns), strict=True):
            self.slots[slot] += amount * end // n - amount * begin // n
        self._widen()

    def _widen(self) -> None:
        while len(self.slots) > MAX_SLOTS:
            self.width_ns *= 2
            merged: Counter[int] = Counter()
            for slot, amount in self.slots.items():
                merged[slot // 2] += amount
            self.slots = merged

    def between(self, start_ns: float, end_ns: float) -> float:
        """The amount between two times. A slot cut by a border counts by the share that is inside."""
        total = 0.0
        for slot, amount in self.slots.items():
            begin = slot * self.width_ns
            inside = max(min(begin + self.width_ns, end_ns) - max(begin, start_ns), 0)
            total += amount * (inside / self.width_ns)
        return total

    def per_step(self, start_ns: int, step_ns: int, steps: int) -> list[float]:
        """The amounts in `steps` steps of `step_ns` from `start_ns` on: `between` for each, in one pass."""
        totals = [0.0] * steps
        for slot, amount in self.slots.items():
            begin = slot * self.width_ns - start_ns
            first = begin // step_ns
            last = (begin + self.width_ns - 1) // step_ns
            for step in range(max(first, 0), min(last, steps - 1) + 1):
                inside = min(begin + self.width_ns, (step + 1) * step_ns) - max(begin, step * step_ns)
                totals[step] += amount * (inside / self.width_ns)
        return totals
