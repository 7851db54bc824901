"""Arrivals whose rate changes during the load.

Changes are not known in advance, so the time of the process is transformed as in `segments.py`, a piece at a time: an
arrival of the first rate at b, after a change at t to k times that rate, comes at t + (b - b(t)) / k, where b(t) is how
far the process of the first rate had come at t. Until the first change the arrivals are those of the process itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class RateChange(NamedTuple):
    """From this instant on (ns from the start), the number of arrivals per second."""

    at_ns: int
    rate: float


class _Piece(NamedTuple):
    start_ns: int
    base_ns: int
    rate: float


class ChangingArrivals(Iterator[int]):
    """Offsets in ns from the start. `base`: those of the process at `rate`.

    They end with `base`, with the last one before `until_ns`, or after `most`.
    """

    def __init__(
        self, base: Iterator[int], rate: float, *, until_ns: int | None = None, most: int | None = None
    ) -> None:
        self._base = base
        self._rate = rate
        self._until_ns = until_ns
        self._left = most
        self._pieces = deque([_Piece(0, 0, rate)])
        self._last_ns = 0

    def __next__(self) -> int:
        if self._left is not None:
            if self._left <= 0:
                raise StopIteration
            self._left -= 1
        self._last_ns = next(self._base)
        offset_ns = self.again()
        if offset_ns is None:
            raise StopIteration
        return offset_ns

    def change(self, at_ns: int, rate: float) -> None:
        """The rate from this instant on. Changes must be in order."""
        last = self._pieces[-1]
        self._pieces.append(_Piece(at_ns, self._come_ns(last, at_ns), rate))

    def again(self) -> int | None:
        """The new offset of the latest arrival, or None if it is too late."""
        pieces = self._pieces
        while len(pieces) > 1 and self._last_ns >= pieces[1].base_ns:
            pieces.popleft()
        start_ns, base_ns, rate = pieces[0]
        offset_ns = start_ns + round((self._last_ns - base_ns) * (self._rate / rate))
        if len(pieces) > 1:  # Rounding moves no arrival over the border.
            offset_ns = min(offset_ns, pieces[1].start_ns)
        return None if self._until_ns is not None and offset_ns >= self._until_ns else offset_ns

    def _come_ns(self, piece: _Piece, at_ns: int) -> int:
        return piece.base_ns + round((at_ns - piece.start_ns) * (piece.rate / self._rate))


def arrivals(base: Iterator[int], rate: float, changes: Iterable[RateChange]) -> Iterator[int]:
    """All arrivals of a process with these changes: the plan, once the changes are known."""
    changing = ChangingArrivals(base, rate)
    for change in changes:
        changing.change(*change)
    return changing
