"""What can be concluded from a search, and nothing beyond what its visits measured.

"Up to" needs a visit that kept every objective and a visit that broke one. Without the second the answer is "at least";
without the first it is "below" or "no load held". If visits contradict the model of a single edge, the answer is not a
capacity but the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from bench.load_search import evidence
from bench.load_search.decisions import SURE, UNSURE, Known, Search
from bench.load_search.goals import Goal
from bench.load_search.visits import Result
from bench.statistics.capacity_fit import Flat

SAME_LOAD = 1.15
"""For a change over time, two visits count as having the same load if their loads differ by at most this factor."""


class Kind(StrEnum):
    """The forms of a conclusion; `conclusion` in search.json."""

    UP_TO = "up to"
    AT_LEAST = "at least"
    BELOW = "below"
    NO_LOAD_HELD = "no load held"
    CHANGED = "the server changed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A conclusion. Loads are None if they are not part of it.

    `known`: the capacity with its interval (UP_TO). `at_least`: the highest load of a visit that held. `below`: the
    lowest load of a visit that broke. `flat`: an objective, and the share that broke it at every load. `change`: an
    objective, and ln of the factor by which its capacity moved during the search; 0 if it moved back and forth.
    """

    kind: Kind
    known: Known | None = None
    at_least: float | None = None
    below: float | None = None
    flat: tuple[str, Flat] | None = None
    change: tuple[str, float] | None = None

    @property
    def answers(self) -> bool:
        """Whether the conclusion names a load that holds."""
        return self.kind in (Kind.UP_TO, Kind.AT_LEAST)


def conclude(search: Search) -> Conclusion:
    """The conclusion from all visits so far."""
    judged = search.judged
    if not judged:
        return Conclusion(Kind.NONE)
    highest = max((result.load for result, kept in judged if kept), default=None)
    broken = min((result.load for result, kept in judged if not kept), default=None)
    for text, fit in search.estimates.fits.items():
        if fit.flat is not None:
            return Conclusion(Kind.NO_LOAD_HELD, below=fit.flat.low, flat=(text, fit.flat))
    if search.estimates.drifts:
        return Conclusion(Kind.CHANGED, change=max(search.estimates.drifts.items(), key=lambda entry: abs(entry[1])))
    if highest is None:
        assert broken is not None
        if search.sure_of(broken) > UNSURE:
            return Conclusion(Kind.NONE)
        lowest = broken <= search.settings.least * (1 + 1e-9)
        return Conclusion(Kind.NO_LOAD_HELD if lowest else Kind.BELOW, below=broken)
    if search.sure_of_most:
        return Conclusion(
            Kind.AT_LEAST, at_least=highest
        )  # Some visits may have broken: the edge is not below this load.
    known = search.known() if search.bracketed else None
    if known is not None and known.estimate < known.top:
        if search.estimates.contradicted is not None:
            return Conclusion(Kind.CHANGED, change=(search.estimates.contradicted, 0.0))
        return Conclusion(Kind.UP_TO, known=known)
    if broken is None and not search.scout_broke:
        return Conclusion(Kind.AT_LEAST, at_least=highest)
    # A single visit below a scout that broke must be sure, and so must visits whose median is above every load tried.
    return Conclusion(Kind.AT_LEAST, at_least=highest) if search.sure_of(highest) >= SURE else Conclusion(Kind.NONE)


def holds(search: Search, conclusion: Conclusion, load: float) -> bool:
    """Whether a load is shown to be held: a visit at or above it kept every objective, and is held with 95% probability."""
    if not conclusion.answers:
        return False
    loads = [result.load for result, kept in search.judged if kept and result.load >= load * (1 - 1e-9)]
    return any(search.sure_of(tried) >= SURE for tried in loads)


def apart_in_time(search: Search, goal: Goal, change: float) -> tuple[Result, Result] | None:
    """The two visits at about the same load, furthest apart in time, that show a change of a goal; None if no two
    visits do.

    If `change` is below 0, the edge fell, so the later visit broke more. If it is 0, the visits contradict each other,
    and the returned pair does so most.
    """
    tried = [(r, b) for r in search.results if evidence.counts(r) and (b := _badness(goal, r)) is not None]
    pairs = [
        (a, b, after - before)
        for i, (a, before) in enumerate(tried)
        for b, after in tried[i + 1 :]
        if abs(math.log(a.load / b.load)) <= math.log(SAME_LOAD)
    ]
    if change:
        shown = [pair for pair in pairs if pair[2] * change < 0]
        best = max(shown, key=lambda pair: pair[1].n - pair[0].n, default=None)
    else:
        shown = [pair for pair in pairs if pair[2] and pair[2] * (pair[1].load - pair[0].load) <= 0]
        best = max(shown, key=lambda pair: abs(pair[2]), default=None)
    return None if best is None else best[:2]


def _badness(goal: Goal, result: Result) -> float | None:
    """How much of a goal a visit broke: the share, or the distance of the mean from its limit."""
    if goal.allowed is not None:
        return result.share(goal.text)
    return result.means[goal.text].log_ratio if goal.text in result.means else None
