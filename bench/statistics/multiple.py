"""Many tests at once: p values corrected for their number.

Twenty metrics compared at 5% each raise an alarm in a third to two thirds of comparisons of a thing with itself. Holm
(Scandinavian Journal of Statistics 6, 1979) keeps the chance of any false alarm at 5%, and is used for the few metrics
that decide. Benjamini and Hochberg (JRSS B 57, 1995) bound the expected share of false alarms among the alarms, for the
others.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given: the i-th smallest of m, times m - i + 1, never falling."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, ps[place] * (len(ps) - rank)))
        adjusted[place] = highest
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """The adjusted p values of Benjamini and Hochberg, in the order given: the i-th smallest of m, times m / i."""
    adjusted = [0.0] * len(ps)
    lowest = 1.0
    order = sorted(range(len(ps)), key=ps.__getitem__)
    for rank, place in reversed(list(enumerate(order, 1))):
        lowest = min(lowest, ps[place] * len(ps) / rank)
        adjusted[place] = lowest
    return adjusted
