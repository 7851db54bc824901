"""Where more load stops giving more throughput: N1/2 of the saturation curve, and the Pareto frontier of a sweep.

    X(N) = Xm N / (N + N1/2)

is the closed form of continuous batching (docs/mock.md): each step has a fixed cost and a cost per request. Xm is the
ceiling of the throughput, N1/2 the concurrency that reaches half of it, and 9 x N1/2 reaches 90%. It is linear in

    N / X = N1/2 / Xm + N / Xm

so it is fitted by least squares, with weights (X / N)^2: then relative errors of X count alike. Both terms are at least
0. Unlike the knee of a drawn curve, N1/2 does not move when the sweep goes further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistics.autocorrelation import Floats
from bench.statistics.intervals import Interval
from bench.statistics.student import t_quantile

LEAST_POINTS = 4
LEAST_LOADS = 3
NOTABLE_RESIDUAL = 0.05
_UNBOUNDED = math.log(1e6)
"""From this reach on, an interval shows nothing."""
EXTRAPOLATED = 2.0
"""How wide (high over low) the interval of an N1/2 beyond the loads may be for it to be reported."""


@dataclass(frozen=True, slots=True)
class Knee:
    """The fitted curve. An interval is None if the points do not bound its number."""

    ceiling: float
    half_at: float
    ceiling_interval: Interval | None
    half_at_interval: Interval | None
    residuals: tuple[float, ...]
    """For each load: its mean throughput over the fitted throughput, minus 1."""
    reaches: tuple[float, ...] = ()
    """For each load: how far this may be off by chance, given how runs of one load vary. Empty if no load ran twice."""

    @property
    def ninety_percent_at(self) -> float:
        """The concurrency with 90% of the ceiling."""
        return 9 * self.half_at

    @property
    def warning(self) -> str | None:
        """A sentence if the curve does not describe the points."""
        reaches = self.reaches or (0.0,) * len(self.residuals)
        off = [r for r, reach in zip(self.residuals, reaches, strict=True) if abs(r) > max(NOTABLE_RESIDUAL, reach)]
        if not off:
            return None
        worst = max(off, key=abs)
        lies = f"a load lies {abs(worst):.0%} {'above' if worst > 0 else 'below'} the fitted curve"
        if self.reaches:
            return f"{lies}, further than its runs vary: another limit binds there, such as a cap on sequences"
        return (
            f"{lies}: another limit may bind there, such as a cap on sequences, or its run was off by chance "
            "(--repeats 3 tells)"
        )


def fit(loads: Sequence[float], throughputs: Sequence[float]) -> Knee | None:
    """The curve through points of a sweep. Returns None for fewer than four points, or if they show no ceiling: throughput is
    nearly proportional to the load, N1/2 lies beyond the last load, and its interval is wider than a factor of two."""
    n, x = np.asarray(loads, dtype=np.float64), np.asarray(throughputs, dtype=np.float64)
    if len(n) < LEAST_POINTS or bool((x <= 0).any()) or len(np.unique(n)) < LEAST_LOADS:
        return None
    weights = x / n
    design = np.column_stack((np.ones_like(n), n)) * weights[:, None]
    target = np.ones_like(n)
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    a, b = float(solution[0]), float(solution[1])
    if b <= 0:
        return None
    bounded = a > 0
    if not bounded:
        # The first point already reached the ceiling.
        a, b = 0.0, float(design[:, 1] @ target) / float(design[:, 1] @ design[:, 1])
    ceiling, half_at = 1 / b, a / b
    fitted = ceiling * n / (n + half_at)
    residuals, reaches = _by_load(n, x / fitted - 1)
    if not bounded:
        return Knee(ceiling, half_at, None, None, residuals, reaches)
    freedom = len(n) - 2
    errors = target - design @ solution
    covariance = np.linalg.inv(design.T @ design) * float(errors @ errors) / freedom
    t = t_quantile(0.975, freedom)
    # On the log scale: var ln(a / b) = var a / a^2 + var b / b^2 - 2 cov / (a b).
    of_half = covariance[0, 0] / a**2 + covariance[1, 1] / b**2 - 2 * covariance[0, 1] / (a * b)
    half_interval = _around(half_at, t * math.sqrt(max(0.0, of_half)))
    if half_at > n.max() and (half_interval is None or half_interval.high > EXTRAPOLATED * half_interval.low):
        return None
    return Knee(
        ceiling, half_at, _around(ceiling, t * math.sqrt(covariance[1, 1]) / b), half_interval, residuals, reaches
    )


def _by_load(loads: Floats, residuals: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean residual of each load and its reach: t of its standard error, corrected for the number of loads. Runs of
    one load differ only by chance, so their variance is used, pooled over all loads."""
    each = [residuals[loads == load] for load in np.unique(loads)]
    means = tuple(float(of.mean()) for of in each)
    freedom = len(residuals) - len(each)
    if not freedom:
        return means, ()
    variance = sum(float(((of - of.mean()) ** 2).sum()) for of in each) / freedom
    t = t_quantile(1 - 0.025 / len(each), freedom)
    return means, tuple(t * math.sqrt(variance / len(of)) for of in each)


def _around(value: float, log_reach: float) -> Interval | None:
    if log_reach > _UNBOUNDED:
        return None
    return Interval(value * math.exp(-log_reach), value * math.exp(log_reach))


@dataclass(frozen=True, slots=True)
class Point:
    """A step of a sweep: throughput (tokens/s per GPU) against a user's speed (tokens/s), each with its interval."""

    per_user: float
    per_gpu: float
    per_user_interval: Interval | None = None
    per_gpu_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Whether a point is on the Pareto frontier; `overlaps`: it is not, but its intervals do not separate it from the
    frontier."""

    on_frontier: bool
    overlaps: bool


def pareto(points: Sequence[Point]) -> list[Place]:
    """The place of each point: a point is on the frontier if no other beats it in both directions."""
    frontier = [
        not any(
            other.per_user >= point.per_user
            and other.per_gpu >= point.per_gpu
            and (other.per_user > point.per_user or other.per_gpu > point.per_gpu)
            for other in points
        )
        for point in points
    ]
    best = [point for point, on in zip(points, frontier, strict=True) if on]
    return [
        Place(on, not on and not any(_surely_beats(other, point) for other in best))
        for point, on in zip(points, frontier, strict=True)
    ]


def _surely_beats(better: Point, worse: Point) -> bool:
    """Whether the better point wins for all values inside the intervals."""
    user = _low(better.per_user, better.per_user_interval) - _high(worse.per_user, worse.per_user_interval)
    gpu = _low(better.per_gpu, better.per_gpu_interval) - _high(worse.per_gpu, worse.per_gpu_interval)
    return min(user, gpu) >= 0 and max(user, gpu) > 0


def _low(value: float, interval: Interval | None) -> float:
    return value if interval is None else interval.low


def _high(value: float, interval: Interval | None) -> float:
    return value if interval is None else interval.high
