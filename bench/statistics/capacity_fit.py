"""Whether visits agree with one edge: the curve of `capacity.py`, which rises with the load and does not move.

They may disagree in four ways, each measured as a deviance (twice a log-likelihood ratio, over D), so that chance alone
gives about 1 per degree of freedom:

- **flat**: the share of violations exceeds the allowed share, and is the same at loads that lie far apart. Overloaded visits
  are left out: a server that loses a tenth of its requests at any load also breaks down at some load.
- **drift**: the edge moves with time. The loads of the visits are multiplied by exp(g t), t from 0 (first) to 1 (last).
  It counts only if no steady server explains the visits, whatever the form of its edge: one visit broke more than another
  at the same or a higher load.
- **contradiction**: visits contradict every steady server, and no drift explains them: a restart, a neighbour, two states.
- **spread**: visits scatter around the best curve more than D explains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bench.statistics.autocorrelation import Floats
from bench.statistics.capacity import (
    LEAST_D,
    SIDE_ODDS,
    STEEP,
    Mean,
    Share,
    Slopes,
    deviance_above,
    log_likelihood,
    log_likelihood_of_means,
    odds_times,
)

V = TypeVar("V", Share, Mean)

SIGNIFICANT = 9.0
"""For a share above the allowed one: three standard errors."""
DRIFTS = 20.0
"""Chance alone moves an edge this much in fewer than one search in a thousand, over the drifts that are tried."""
CONTRADICTS = 20.0
"""Visits contradict every steady share that rises with the load if their deviance from the closest one is this large.
Chance near an edge reaches 13: one visit sees a long queue, and the next none."""
_UNSTEADY = 15.0
"""Beyond one for each degree of freedom: over 100 searches of steady servers the largest was 7.4."""
_RISES = 4.0
_FLAT_OVER = 2.0
_UNEVEN = 2.0
_BELOW = 6.6
_LEAST_EXPECTED = 3.0
_OVERLOADED = 0.3
_LEAST_VISITS = 4
_BROKEN = 0.5
"""Far beyond its capacity a server breaks at least this share, which distinguishes a server that fell from one that
never held."""
_DRIFTS = (-3.2, -1.6, -0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


@dataclass(frozen=True, slots=True)
class Flat:
    """A share of violations that does not depend on the load, over loads from `low` to `high`.

    `low` is the lowest load up to which the visits together show that more is broken than allowed.
    """

    share: float
    low: float
    high: float
    visits: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How well the visits agree with one edge."""

    flat: Flat | None
    spread: float
    """Deviance from the best curve for each degree of freedom; at most about 1 by chance."""


def check(visits: Sequence[Share], allowed: float, d: float, capacities: Floats, edge: Slopes = STEEP) -> Fit:
    """How well visits, in order of time, agree with one edge somewhere among `capacities`."""
    usable = [visit for visit in visits if visit.requests]
    if not usable:
        return Fit(None, 0.0)
    best = float(log_likelihood(usable, allowed, capacities, edge).max())
    return Fit(_flat(usable, allowed, d, capacities, edge), _spread(usable, allowed, d, best))


def _flat(visits: Sequence[Share], allowed: float, d: float, capacities: Floats, edge: Slopes) -> Flat | None:
    """The share broken at any load, if it exceeds the allowed share and no curve explains the visits better."""
    most = max(_OVERLOADED, odds_times(allowed, 3))
    calm = [visit for visit in visits if visit.violations <= most * visit.requests]
    loads = [visit.load for visit in calm]
    if len(calm) < _LEAST_VISITS or max(loads) < _FLAT_OVER * min(loads):
        return None
    n, k = sum(visit.requests for visit in calm), sum(visit.violations for visit in calm)
    if deviance_above(k, n, allowed) / d < SIGNIFICANT:
        return None
    level = _share_log_likelihood(calm, k / n)
    uneven = sum(_deviance(visit, k / n) / visit.own_d for visit in calm)
    of_light = _together([visit for visit in calm if visit.load <= max(loads) / _FLAT_OVER])
    if of_light.requests * k / n < _LEAST_EXPECTED or uneven > _UNEVEN * (len(calm) - 1):
        return None
    lightest = _lightest(calm)
    if any(_below(some, k / n) > _BELOW for some in lightest[:-1]) or any(_below(v, k / n) > SIGNIFICANT for v in calm):
        return None
    if 2 * (float(log_likelihood(calm, allowed, capacities, edge, _BROKEN).max()) - level) / d > _RISES:
        return None
    above = (v.load for v in lightest if deviance_above(v.violations, v.requests, allowed) > _BELOW * v.own_d)
    low = next(above, max(loads))
    return Flat(k / n, low, max(loads), sum(load >= low for load in loads))


def _lightest(visits: Sequence[Share]) -> list[Share]:
    """The visit to the lowest load, the visits to the two lowest combined, and so on up to all: each at its highest
    load."""
    ordered = sorted(visits, key=lambda visit: visit.load)
    return [_together(ordered[end - 1 :: -1]) for end in range(1, len(ordered) + 1)]


def _together(visits: Sequence[Share]) -> Share:
    requests = sum(visit.requests for visit in visits)
    d = sum(visit.own_d * visit.requests for visit in visits) / requests
    return Share(visits[0].load, requests, sum(visit.violations for visit in visits), d)


def _deviance(visit: Share, p: float) -> float:
    """Twice the log-likelihood ratio of a visit's own share against p."""
    return 2 * (_share_log_likelihood([visit], visit.violations / visit.requests) - _share_log_likelihood([visit], p))


def _below(visit: Share, p: float) -> float:
    """How clearly a visit's own share is below p, as a deviance over its own D; 0 if it is not."""
    return _deviance(visit, p) / visit.own_d if visit.violations < p * visit.requests else 0.0


def drift(visits: Sequence[Share], allowed: float, d: float, capacities: Floats, edge: Slopes = STEEP) -> float | None:
    """The ln of how far the edge moved from the first visit to the last, below 0 if it fell. Returns None without
    evidence."""
    scaled = [_in_units_of(d, visit) for visit in visits if visit.requests]
    if _from_steady(scaled)[0] / d < CONTRADICTS:
        return None
    return _moved(scaled, lambda moved: float(log_likelihood(moved, allowed, capacities, edge, _BROKEN).max()) / d)


def contradicts(visits: Sequence[Share], allowed: float, d: float) -> bool:
    """Whether visits contradict every steady server by more than chance for this many visits, in the range that
    matters: between the lowest load that broke and the highest that held. How much more an overloaded server breaks
    depends on how long it is."""
    scaled = [_in_units_of(d, visit) for visit in visits if visit.requests]
    deviance, degrees = _from_steady(_in_question(scaled, [v.violations > allowed * v.requests for v in scaled]))
    return deviance / d > degrees + _UNSTEADY


def contradicts_of_means(visits: Sequence[Mean]) -> bool:
    """The same for an objective on a mean."""
    deviance, degrees = _from_steady_means(_in_question(visits, [visit.log_ratio > 0 for visit in visits]))
    return deviance > degrees + _UNSTEADY


def _in_question(visits: Sequence[V], broke: Sequence[bool]) -> list[V]:
    """The visits between the lowest load that broke and the highest that held."""
    lowest = min((visit.load for visit, broken in zip(visits, broke, strict=True) if broken), default=math.inf)
    highest = max((visit.load for visit, broken in zip(visits, broke, strict=True) if not broken), default=0.0)
    return [visit for visit in visits if lowest <= visit.load <= highest]


def _from_steady(visits: Sequence[Share]) -> tuple[float, int]:
    """The deviance of visits from the closest share that rises with the load, and its degrees of freedom: the visits
    that share a level with others. Visits without violations cannot scatter."""
    shares = [visit.violations / visit.requests for visit in visits]
    levels = rising([visit.load for visit in visits], shares, [visit.requests for visit in visits])
    deviance = sum(_deviance(visit, level) for visit, level in zip(visits, levels, strict=True))
    scattering = [level for level in levels if level > 0]
    return deviance, len(scattering) - len({*scattering})


def drift_of_means(visits: Sequence[Mean], capacities: Floats) -> float | None:
    """The same for an objective on a mean."""
    if _from_steady_means(visits)[0] < CONTRADICTS:
        return None
    return _moved(visits, lambda moved: float(log_likelihood_of_means(moved, capacities).max()))


def _from_steady_means(visits: Sequence[Mean]) -> tuple[float, int]:
    """The deviance of means from the closest ones that rise with the load, and its degrees of freedom."""
    levels = rising([v.load for v in visits], [v.log_ratio for v in visits], [v.error**-2 for v in visits])
    deviance = sum(((v.log_ratio - level) / v.error) ** 2 for v, level in zip(visits, levels, strict=True))
    return deviance, len(levels) - len({*levels})


def rising(loads: Sequence[float], values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The levels, one for each value, that rise with the load and are closest to the values: isotonic regression by
    pooling adjacent violators, which is also the maximum of a binomial likelihood. Values of the same load share a
    level."""
    pools: list[tuple[float, float, list[int]]] = []
    for load in sorted({*loads}):
        members = [number for number, of in enumerate(loads) if of == load]
        weight = math.fsum(weights[number] for number in members)
        level = math.fsum(weights[number] * values[number] for number in members) / weight
        while pools and pools[-1][0] >= level:
            below, below_weight, below_members = pools.pop()
            level = (below * below_weight + level * weight) / (below_weight + weight)
            weight, members = below_weight + weight, below_members + members
        pools.append((level, weight, members))
    levels = [0.0] * len(values)
    for level, _, members in pools:
        for number in members:
            levels[number] = level
    return levels


def _moved(visits: Sequence[V], best: Callable[[Sequence[V]], float]) -> float | None:
    """The drift that explains visits best, if it is clearly better than no drift."""
    if len(visits) < _LEAST_VISITS:
        return None
    last, still = len(visits) - 1, best(visits)
    gains = {
        g: best([replace(v, load=v.load * math.exp(-g * i / last)) for i, v in enumerate(visits)]) for g in _DRIFTS
    }
    moved = max(gains, key=lambda g: gains[g])
    return moved if 2 * (gains[moved] - still) > DRIFTS else None


def _in_units_of(d: float, visit: Share) -> Share:
    """The visit, scaled to the number of requests that weighs as much over D as its own requests over its own D (at
    least `LEAST_D` here)."""
    weight = d / max(LEAST_D, visit.own_d)
    return replace(visit, requests=weight * visit.requests, violations=weight * visit.violations)


def _spread(visits: Sequence[Share], allowed: float, d: float, best: float) -> float:
    """Deviance per degree of freedom. Only visits near the edge can scatter: far from it, the curve takes each visit's
    own share."""
    low, high = odds_times(allowed, 1 / SIDE_ODDS), odds_times(allowed, SIDE_ODDS)
    near = sum(low < visit.violations / visit.requests < high for visit in visits)
    saturated = sum(_share_log_likelihood([visit], visit.violations / visit.requests) for visit in visits)
    return 2 * (saturated - best) / d / max(1, near - 2)


def _share_log_likelihood(visits: Sequence[Share], p: float) -> float:
    p = min(max(p, 1e-12), 1 - 1e-12)
    return float(np.sum([v.violations * math.log(p) + (v.requests - v.violations) * math.log1p(-p) for v in visits]))
