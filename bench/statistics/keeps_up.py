"""Whether a server keeps up with an open loop, or a backlog grows.

A limit on TPOT does not show an endless backlog: the running requests are fast, and the others wait. But the number of
requests in flight grows. A visit is flagged if their mean rises over its thirds, the last third has more than 1.25
times the first, and the growth is over 3% of the requests sent.

Just below capacity a queue wanders, and one flag in a minute is wrong in 2 to 17% of the visits at 90% of the capacity,
and in 7 to 40% at 95%. So a flagged visit is repeated, twice as long, and only a second flag counts. Even then it is
evidence rather than proof: the posterior treats it so, with the rates of the simulation in docs/dev/simulations.md.
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
"""If E2EL of the last third exceeds the first third's by this factor, a long drain means a pile-up rather than long
replies."""
GROWN_AS_RECORDED = 3.0
"""The same at the times of a recording: a rising rate makes larger batches, and E2EL up to 2.7 times as long on servers
that keep up (docs/dev/simulations.md)."""
LONG_DRAIN = 0.5
"""A drain is long beyond this share of the sending time plus three times the E2EL of the first requests."""
_LEAST_OF_THIRD = 10

SURE = 0.97
"""The certainty of a single visit is capped here, however clear it is."""
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
    """The thirds of the time from start to stop, from the times at which requests were sent and ended."""
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


def _per_arrival(flight: InFlight, due: Floats, start_s: float, stop_s: float) -> InFlight:
    """The thirds, adjusted to an equal number of due requests in each."""
    came = np.histogram(due, np.linspace(start_s, stop_s, 4))[0]
    first, middle, last = np.asarray(flight.thirds) * came.mean() / np.maximum(came, 1)
    return InFlight((float(first), float(middle), float(last)), flight.sent)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The mean number of requests or sessions in flight in the first and the last third of the sending time, and the
    growth of E2EL."""

    first: float
    last: float
    growth: float
    """`growth` of all its requests."""
    rises: bool
    """Whether they kept rising."""


def backlog(due_s: Values, end_s: Values, grown: float | None, *, even: bool = True) -> Backlog | None:
    """The backlog of a run at a fixed rate. `due_s`, `end_s`: when its requests were due and ended, or when its
    sessions began and ended (infinity: not within the run). `grown`: `growth` of its requests. `even`: the rate is
    fixed; if not, the number in flight counts per request that was due in the same third, and E2EL has to grow by more.

    Returns None without `grown`, with fewer than 30 requests or sessions, and if all were due at once. There are no
    earlier visits to compare with: the first requests show how long one takes that does not wait, and until such a time
    has passed, the number in flight rises by itself. So the thirds begin after twice that time. In a load shorter than
    four times that time, only a long drain counts.
    """
    due, end = np.asarray(due_s, dtype=np.float64), np.asarray(end_s, dtype=np.float64)
    if grown is None or len(due) < 3 * _LEAST_OF_THIRD or due.min() == due.max():
        return None
    begin_s, stop_s = float(due.min()), float(due.max())
    first = np.argsort(due, kind="stable")[: max(_LEAST_OF_THIRD, len(due) // 20)]
    alone_s = float(np.median((end - due)[first]))
    long_enough = stop_s - begin_s >= 4 * alone_s
    flight = in_flight(due, end, begin_s + (2 * alone_s if long_enough else 0.0), stop_s)
    drained_s = float(end.max()) - stop_s
    drains_long = math.inf > drained_s > LONG_DRAIN * (stop_s - begin_s) + 3 * alone_s
    grows = long_enough and (flight if even else _per_arrival(flight, due, begin_s + 2 * alone_s, stop_s)).grows
    rises = grown > (GROWN if even else GROWN_AS_RECORDED) and (grows or drains_long)
    return Backlog(flight.thirds[0], flight.thirds[2], grown, rises)


def posterior(visits: Sequence[tuple[float, bool]], capacities: Floats, domain: Domain | None = None) -> Posterior:
    """The posterior of the load that the server keeps up with, from visits of an open loop as (load, whether it kept
    up).

    P(a visit fails) rises from 1 - SURE to SURE, logistic in ln(load / capacity) around an unknown offset: each of
    `OFFSETS` is equally likely, and one applies to all visits to a server.
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
