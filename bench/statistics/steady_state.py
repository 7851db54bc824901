"""Where a run became steady, and whether it stayed so.

Both tests take a series of equal steps. The choice of series matters: in an open loop output follows arrivals, whatever
the server does, so TPOT and TTFT per second are tested; in a closed loop tokens per second and TPOT.

MSER-5 (White, Simulation 69, 1997): the series in batches of five; leave out the first d batches, where d minimises the
standard error of the rest, d at most half.

Halves: with m the length of half the series and r its residuals from a straight line,

    z = (mean of the second half - mean of the first) / sqrt(2 var(r) act(r) / m)

against Student's t with 2m / act(r) - 2 degrees of freedom. Neighbouring seconds share one queue: without act(r) a
series that only wanders would count as a drift. Residuals are used so that a drift does not hide itself in its own
variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.statistics.autocorrelation import LEAST_VALUES, Values, act
from bench.statistics.student import two_sided

BATCH = 5
ALARM = 0.01
"""The rate of false alarms on steady runs."""
WORTH_SAYING = 0.05
"""A change below this share of the mean is not reported, however certain it is."""


@dataclass(frozen=True, slots=True)
class Halves:
    """The second half of a series against the first: `change` is a share of the mean, `p` the probability of it by
    chance."""

    change: float
    p: float
    degrees: float

    @property
    def drifted(self) -> bool:
        """Whether the run was not steady: the change is certain, and large enough to matter."""
        return self.p < ALARM and abs(self.change) > WORTH_SAYING


def halves(values: Values) -> Halves | None:
    """The test of the halves. Returns None if the series is too short, or its mean is 0."""
    x = np.asarray(values, dtype=np.float64)
    m = len(x) // 2
    mean = float(x.mean()) if len(x) else 0.0
    if len(x) < LEAST_VALUES or mean == 0:
        return None
    t = np.arange(len(x)) - (len(x) - 1) / 2
    residuals = x - mean - t * float(t @ x) / float(t @ t)
    tau = act(residuals)
    # At least 1.75: act is at most the largest eigenvalue of a band of ones of width m on what no line explains, over
    # n, and that is under 0.254 n.
    degrees = 2 * m / tau - 2
    difference = float(x[len(x) - m :].mean() - x[:m].mean())
    variance = float(residuals @ residuals) / (len(x) - 2)
    # Two constant halves have no error: a floor keeps the ratio finite.
    error = max(math.sqrt(2 * variance * tau / m), 1e-9 * abs(mean))
    return Halves(difference / mean, two_sided(difference / error, degrees), degrees)


@dataclass(frozen=True, slots=True)
class Cut:
    """How many leading values to leave out; `settled` is False if the best cut is the last one allowed."""

    left_out: int
    settled: bool


def mser(values: Values) -> Cut:
    """The cut of MSER-5; none for a series shorter than two batches."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x) // BATCH
    if n < 2:
        return Cut(0, True)
    # A series that hardly varies around a large mean would lose its variance to rounding.
    means = x[: n * BATCH].reshape(n, BATCH).mean(axis=1) - x.mean()
    remaining = np.arange(n, 0, -1)
    totals, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    errors = np.maximum(squares - totals**2 / remaining, 0.0) / remaining.astype(np.float64) ** 2
    best = int(np.argmin(errors[: n // 2 + 1]))
    return Cut(best * BATCH, best < n // 2)
