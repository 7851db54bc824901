"""Several arrival processes at once, each with its own random stream, merged in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice

_CHUNK = 4096


def merged(processes: Sequence[Iterator[int]], scale: float = 1.0) -> Iterator[tuple[int, int]]:
    """Every arrival, in ns from the start, with the number of its process; ties go to the lower number.

    `scale`: speeds all of them up by this factor.
    """

    def numbered(which: int, process: Iterator[int]) -> Iterator[tuple[int, int]]:
        return ((at_ns, which) for at_ns in process)

    both = merge(*(numbered(which, process) for which, process in enumerate(processes)))
    return both if scale == 1.0 else ((round(at_ns / scale), which) for at_ns, which in both)


class MergedPlaces:
    """For an arrival's number: its process, and how many arrivals of that process came before it.

    Numbers are requested nearly in order. The latest batch is kept; for an earlier number everything is drawn again.
    """

    def __init__(self, begin: Callable[[], Iterator[tuple[int, int]]], processes: int) -> None:
        """`begin` draws the arrivals from the first one on."""
        self._begin = begin
        self._processes = processes
        self._restart()

    def _restart(self) -> None:
        self._arrivals = self._begin()
        self._first = 0
        self._kept: list[tuple[int, int]] = []
        self._counts = [0] * self._processes

    def place(self, number: int) -> tuple[int, int]:
        """Raises IndexError if there are not that many arrivals."""
        if number < self._first:
            self._restart()
        while number >= self._first + len(self._kept):
            self._first += len(self._kept)
            self._kept = []
            for _, which in islice(self._arrivals, _CHUNK):
                self._kept.append((which, self._counts[which]))
                self._counts[which] += 1
            if not self._kept:
                raise IndexError(f"there are {self._first} arrivals, and none has the number {number}")
        return self._kept[number - self._first]
