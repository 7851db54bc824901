"""Histograms of a run as short text for the page's script: `bench/report/template/period.js` reads it.

A number is written in base64 characters, five bits each, the least significant first; the sixth bit marks that more
follow. A histogram is the number of its bins, then each bin: its distance from the one before (at first from `base`)
and its count. Small values share a character, 20 * (distance - 1) + count - 1, with a distance up to 3 and a count up
to 20. Otherwise character 62 (the distance is 1) precedes the count, or 63 precedes both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NEXT, _FAR = _DIGITS[62], _DIGITS[63]

Histogram = Mapping[int, int]


def number(value: int) -> str:
    """A whole number, >= 0, as text."""
    written = ""
    while value > 31:
        written += _DIGITS[32 | value & 31]
        value >>= 5
    return written + _DIGITS[value]


def pack(histograms: Sequence[Histogram], base: int) -> str:
    """Histograms, one after the other; `base` is less than every bin."""
    parts = []
    for counts in histograms:
        parts.append(number(len(counts)))
        before = base
        for at in sorted(counts):
            distance, n = at - before, counts[at]
            if distance <= 3 and n <= 20:
                parts.append(_DIGITS[20 * (distance - 1) + n - 1])
            else:
                parts.append(_NEXT + number(n) if distance == 1 else _FAR + number(distance) + number(n))
            before = at
    return "".join(parts)


def merged(histograms: Sequence[Histogram], k: int) -> list[Histogram]:
    """The histograms, with each group of k neighbours merged."""
    groups: list[Histogram] = []
    for first in range(0, len(histograms), k):
        total: Counter[int] = Counter()
        for counts in histograms[first : first + k]:
            total.update(counts)
        groups.append(total)
    return groups


def whole(histograms: Sequence[Histogram]) -> Histogram:
    """All histograms merged."""
    return merged(histograms, max(len(histograms), 1))[0] if histograms else Counter()
