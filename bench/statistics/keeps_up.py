"""Whether a server keeps up with an open loop, or a backlog grows behind it.

A limit on TPOT says nothing under an endless backlog: the running requests are fast, and the others wait. Then the number
of requests in flight grows. A visit is flagged if their mean rises over its thirds, the last third has more than 1.25 times
the first, and the growth is over 3% of the requests sent.

Just below capacity a queue wanders, and one flag of a minute is wrong in 2 to 17% of the visits at 90% of the capacity, and
in 7 to 40% at 95%. So a flagged visit is made once more, twice as long, and only a second flag counts. Even then it is
evidence and no proof: the posterior takes it as such, with the rates of the simulation in docs/dev/simulations.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.statistics.autocorrelation import Floats, Values
from bench.statistics.capacity import Domain, Posterior

RISE = 1.25
GROWTH = 0.03
CHANCE = 3.0
GROWN = 1.5
"""E2EL of the last third over that of the first from which a long drain is a pile-up, and not the length of the replies."""
_LEAST_OF_THIRD = 10

SURE = 0.97
"""Beyond this a single visit, however clear, says nothing."""
STEEPNESS = 50.0
"""How fast the chance of a second flag rises with ln(load / capacity)."""
OFFSETS = (-0.01, 0.02, 0.045, 0.07)
"""Where it passes one half, as ln(load / capacity): servers with many requests in flight are flagged later."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """The mean number of requests in flight in each third of a visit, and how many requests were sent in it."""

    thirds: tuple[float, float, float]
    sent: int

    @property
    def grows(self) -> bool:
        """Whether the visit is flagged: the server did not keep up in it."""
        first, middle, last = self.thirds
        enough = max(GROWTH * self.sent, CHANCE * math.sqrt(first + 1))
        return first < middle < last and last > RISE * first and last - first > enough


def in_flight(sent_s: Values, end_s: Values, start_s: float, stop_s: float) -> InFlight:
    """The thirds of the time from start to stop, of requests by the times at which they were sent and ended."""
    sent, end = np.asarray(sent_s, dtype=np.float64), np.asarray(end_s, dtype=np.float64)
    edges = np.linspace(start_s, stop_s, 4)
    means = [
        float(np.maximum(np.minimum(end, right) - np.maximum(sent, left), 0.0).sum() / (right - left))
        for left, right in pairwise(edges)
    ]
    return InFlight((means[0], means[1], means[2]), int(((sent >= start_s) & (sent < stop_s)).sum()))


def growth(sent_s: Values, e2el_s: Values) -> float | None:
    """The median E2EL of the last third of the requests over the median of the first third, in send order.

    Returns None for fewer than ten requests per third, whose medians differ by chance if their lengths do.
    """
    order = np.argsort(np.asarray(sent_s, dtype=np.float64), kind="stable")
    e2el = np.asarray(e2el_s, dtype=np.float64)[order]
    third = len(e2el) // 3
    if third < _LEAST_OF_THIRD:
        return None
    first = float(np.median(e2el[:third]))
    return float(np.median(e2el[-third:])) / first if first > 0 else None


def posterior(visits: Sequence[tuple[float, bool]], capacities: Floats, domain: Domain | None = None) -> Posterior:
    """What visits of an open loop, as (load, whether it kept up), say of the load that the server keeps up with.

    P(a visit fails) rises from 1 - SURE to SURE, logistic in ln(load / capacity) around an offset that is not known:
    each of `OFFSETS` is as likely, and one holds for all visits to a server.
    """
    offsets = np.asarray(OFFSETS)
    log_mass = np.zeros((len(capacities), len(offsets)))
    for load, kept_up in visits:
        distance = np.log(load / capacities)[:, None] - offsets
        fails = (1 - SURE) + (2 * SURE - 1) / (1 + np.exp(-STEEPNESS * distance))
        log_mass += np.log(1 - fails if kept_up else fails)
    if domain is not None:
        log_mass += domain.log_prior(capacities)[:, None]
    mass = np.exp(log_mass - log_mass.max()).sum(axis=1)
    return Posterior(capacities, mass / mass.sum())
