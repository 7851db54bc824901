"""The load up to which objectives hold, as a posterior over capacities.

Every objective on a quantile or a share allows a share p0 of the requests to violate it: `ttft:p99<500ms` allows 1%.
Around the capacity c the share at load l is modelled as logistic in the load's logarithm,

    logit p(l) = logit p0 + s ln(l / c)

with an unknown slope s. A visit to load l saw k violations in n requests, worth n / D independent ones:

    log-likelihood = (k ln p + (n - k) ln(1 - p)) / D

on 200 capacities, evenly spaced in their logarithm, times ten slopes. Far from the capacity the logistic is not valid:
where it puts the odds beyond 6 times (or below a sixth of) the odds of p0, only the side counts, and p becomes the
visit's own share, kept beyond that bound. So a visit at half the capacity is evidence that the objective holds there,
and none on how steep the edge is.

An objective on a mean has no violations. A visit gives r = ln(mean / limit) with its standard error e, and

    r ~ s ln(l / c) + e x Student's t        (slopes of a mean; only the side counts beyond |ln 1.5|)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistics.autocorrelation import Floats, Values, act
from bench.statistics.intervals import MEAN_SAFETY, certain_values

POINTS = 200


@dataclass(frozen=True, slots=True)
class Slopes:
    """The possible slopes of an edge, and their log-normal prior."""

    values: tuple[float, ...]
    median: float
    sigma: float


STEEP = Slopes((6, 10, 16, 25, 40, 64, 100, 160, 260, 420), 30.0, 1.0)
"""For requests, which are alike: a queue makes all of them miss together."""
SHALLOW = Slopes((0.7, 1, 1.5, 2.3, 3.5, 5, 8, 12, 20, 32, 50, 80, 160, 420), 5.0, 1.2)
"""For jobs: some have ten times as many steps as others and are long at any load, so their share rises slowly."""
MEAN_SLOPES = (0.5, 0.8, 1.25, 2, 3.2, 5, 8, 12.5, 20, 32)
MEAN_SLOPE_MEDIAN, MEAN_SLOPE_SIGMA = 4.0, 1.0
SIDE_ODDS = 6.0
SIDE_RATIO = 1.5
LEAST_D = 10.0
FALL = 0.15
BEYOND = 16.0
"""How far a grid reaches beyond its domain, as a factor."""
_STEP = 0.01

_LOG_T_HEAVINESS = 4.0
"""Degrees of freedom of a mean's error: it is estimated from few blocks, and one bad visit must not decide."""


@dataclass(frozen=True, slots=True)
class Share:
    """The evidence of a visit on an objective on a share: `violations` of `requests` broke it."""

    load: float
    requests: float
    violations: float
    own_d: float = LEAST_D
    """D of this visit alone, from how long its own excursions last. Too small near an edge, where most visits see none."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The evidence of a visit on an objective on a mean: ln(mean / limit), and its standard error."""

    load: float
    log_ratio: float
    error: float


@dataclass(frozen=True, slots=True)
class Posterior:
    """The posterior of a capacity: `mass` over the capacities of `grid`, in ascending order."""

    grid: Floats
    mass: Floats

    def quantile(self, p: float) -> float:
        """The capacity below which the true one lies with probability p."""
        at = int(np.searchsorted(np.cumsum(self.mass), p - 1e-12))
        return float(self.grid[min(at, len(self.grid) - 1)])

    @property
    def estimate(self) -> float:
        """The median."""
        return self.quantile(0.5)

    @property
    def low(self) -> float:
        """The lower end of the interval. Each capacity of the grid stands for those within half a step of it."""
        return self.quantile(0.025) / self._half_step

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.quantile(0.975) * self._half_step

    @property
    def _half_step(self) -> float:
        return math.sqrt(float(self.grid[1] / self.grid[0]))

    @property
    def width(self) -> float:
        """The ratio of the interval's ends, minus 1."""
        return self.high / self.low - 1

    def holds(self, load: float) -> float:
        """P(capacity >= load): the probability that the objective holds at a load."""
        return min(1.0, float(self.mass[self.grid >= load * (1 - 1e-12)].sum()))


def grid(low: float, high: float, points: int = POINTS) -> Floats:
    """Capacities from low to high, evenly spaced in their logarithm."""
    return np.exp(np.linspace(math.log(low), math.log(high), points))


@dataclass(frozen=True, slots=True)
class Domain:
    """The range of the capacity that scouts suggest.

    It is not a hard limit: outside, the prior falls by a factor of e for each `FALL` of ln(load).
    """

    low: float
    high: float

    def grid(self, least: float, most: float) -> Floats:
        """Capacities over the domain and far beyond it, within the limits of the search."""
        low, high = max(self.low / BEYOND, least / 1.6), min(self.high * BEYOND, most * 1.6)
        low, high = min(low, self.low), max(high, self.high)
        return grid(low, high, max(POINTS, round(math.log(high / low) / _STEP)))

    def log_prior(self, capacities: Floats) -> Floats:
        """The log prior of each capacity; 0 inside the domain."""
        outside = np.maximum(np.log(self.low / capacities), np.log(capacities / self.high))
        return -np.maximum(outside, 0.0) / FALL


def of_shares(
    visits: Sequence[Share],
    allowed: float,
    d: float,
    capacities: Floats,
    edge: Slopes = STEEP,
    domain: Domain | None = None,
) -> Posterior:
    """The posterior of an objective that `allowed` (p0) of the requests may violate; `d` is the dependence of
    violations."""
    slopes = np.asarray(edge.values, dtype=np.float64)
    prior = -0.5 * (np.log(slopes / edge.median) / edge.sigma) ** 2
    log_mass = prior + log_likelihood(visits, allowed, capacities, edge) / d
    return _posterior(capacities, log_mass, domain)


def log_likelihood(
    visits: Sequence[Share], allowed: float, capacities: Floats, edge: Slopes = STEEP, overload: float | None = None
) -> Floats:
    """The log likelihood of all visits, as if every request were independent, by capacity (rows) and slope (columns).

    `overload`: the share up to which the curve is used above the capacity; by default up to 6 times the odds of p0.
    """
    p0 = math.log(allowed / (1 - allowed))
    clip = math.log(SIDE_ODDS)
    most = clip if overload is None else max(clip, math.log(overload / (1 - overload)) - p0)
    slopes = np.asarray(edge.values, dtype=np.float64)
    total = np.zeros((len(capacities), len(slopes)))
    for visit in visits:
        n, k = visit.requests, visit.violations
        if not n:
            continue
        observed = math.log((k + 0.5) / (n - k + 0.5))
        distance = np.log(visit.load / capacities)[:, None] * slopes
        high = distance >= most
        above, below = (k * x - n * np.logaddexp(0.0, x) for x in (max(p0 + most, observed), min(p0 - clip, observed)))
        of_visit = np.where(high, above, below)
        # The curve itself is only needed near the load, for few of the capacities: elsewhere the side suffices.
        near = ~high & (distance > -clip)
        logit = p0 + distance[near]
        of_visit[near] = k * logit - n * np.logaddexp(0.0, logit)
        total += of_visit
    return total


def of_means(visits: Sequence[Mean], capacities: Floats, domain: Domain | None = None) -> Posterior:
    """The posterior of an objective on a mean."""
    slopes = np.asarray(MEAN_SLOPES, dtype=np.float64)
    prior = -0.5 * (np.log(slopes / MEAN_SLOPE_MEDIAN) / MEAN_SLOPE_SIGMA) ** 2
    return _posterior(capacities, prior + log_likelihood_of_means(visits, capacities), domain)


def log_likelihood_of_means(visits: Sequence[Mean], capacities: Floats) -> Floats:
    """The log likelihood of all visits, by capacity (rows) and slope (columns)."""
    clip = math.log(SIDE_RATIO)
    slopes = np.asarray(MEAN_SLOPES, dtype=np.float64)
    total = np.zeros((len(capacities), len(slopes)))
    freedom = _LOG_T_HEAVINESS
    for visit in visits:
        distance = np.log(visit.load / capacities)[:, None] * slopes
        predicted = np.where(
            distance >= clip,
            max(clip, visit.log_ratio),
            np.where(distance <= -clip, min(-clip, visit.log_ratio), distance),
        )
        z = (visit.log_ratio - predicted) / visit.error
        total -= (freedom + 1) / 2 * np.log1p(z**2 / freedom)
    return total


def mean_of(load: float, values: Values, limit: float) -> Mean | None:
    """The evidence of a visit's values, in send order, on an objective on their mean. Returns None if there are too
    few."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 20:
        return None
    if float(x.mean()) <= 0:  # Such as pauses that no request had: within the limit, by an unknown factor.
        return Mean(load, math.log(0.01), 1.0)
    certain = certain_values(len(x) / min(len(x), MEAN_SAFETY * act(x)))
    mean, error = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(certain)
    # 1%: two visits to one load differ by more than a visit can show.
    return Mean(load, math.log(mean / limit), math.hypot(error / mean, 0.01))


def dispersion(tails: Sequence[tuple[float, float, float]], capacity: float, allowed: float, scouted: float) -> float:
    """D of an objective: 3 x the mean act over the visits that saw its edge.

    `tails` has (load, share of violations, act of 1{value > the visit's p90}) of each visit. Visits within 25% of the
    capacity count, if they have less than 30% violations (or three times the allowed odds). The mean is used, since
    most visits see no excursion and few see a long one: with the median the interval of a queue behind a cap on
    sequences held in 88% of searches. Before there is such a visit, D is twice the last scouted load (`scouted`), at
    least 10, and at least 3 x the largest act of any visit with less than 30% violations.
    """
    most = max(0.3, odds_times(allowed, 3))
    calm = [(load, tau) for load, share, tau in tails if share < most]
    near = [tau for load, tau in calm if abs(load / capacity - 1) <= 0.25]
    return 3 * float(np.mean(near)) if near else max(LEAST_D, 2 * scouted, *(3 * tau for _, tau in calm))


def deviance_above(violations: float, requests: float, allowed: float) -> float:
    """Twice the log-likelihood ratio of the observed share against the allowed share; 0 if it is not above it."""
    if not requests or violations <= allowed * requests:
        return 0.0
    p = violations / requests
    return 2 * (_log_likelihood_of(violations, requests, p) - _log_likelihood_of(violations, requests, allowed))


def _log_likelihood_of(violations: float, requests: float, p: float) -> float:
    """The log likelihood of this many violations, if each request breaks the objective with probability p."""
    broke = violations * math.log(p) if violations else 0.0
    return broke + ((requests - violations) * math.log1p(-p) if requests > violations else 0.0)


def odds_times(p: float, factor: float) -> float:
    """The probability whose odds are `factor` times the odds of p."""
    return factor * p / (1 - p + factor * p)


def _posterior(capacities: Floats, log_mass: Floats, domain: Domain | None = None) -> Posterior:
    if domain is not None:
        log_mass = log_mass + domain.log_prior(capacities)[:, None]
    mass = np.exp(log_mass - log_mass.max()).sum(axis=1)
    return Posterior(capacities, mass / mass.sum())
