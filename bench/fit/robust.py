"""Non-negative least squares, plain and with weights that leave outliers out.

A step that was seen late (a busy client, a pause of the server) is an outlier itself and makes the next step too short.
Plain least squares would put these errors into the coefficients; prefill steps are rare, so b1 would suffer most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

HUBER = 1.345
BISQUARE = 4.685
"""In units of the residuals' scale: 95% efficient if the errors are normal (Huber 1981; Beaton and Tukey 1974)."""
_MAD = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
_HUBER_ROUNDS, _BISQUARE_ROUNDS = 40, 20
_STILL = 1e-9
_EQUAL = 1e-11
"""Gradients that differ by less than this share of the largest of all differ by rounding."""
_MOST_STRETCH = 2.0
"""If errors fall into two clusters, the formula of `Robust.stretch` has no bound."""


def nonnegative(gram: Array, target: Array) -> Array:
    """x >= 0 that minimises x'Gx - 2x'h, for G = A'A and h = A'y: the active set method of Lawson and Hanson (1974),
    chapter 23.

    Never raises. Of columns that can replace each other, the first gets the whole, however a machine rounds.
    """
    n = len(target)
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    g, h = gram / np.outer(scale, scale), target / scale
    x = np.zeros(n)
    free = np.zeros(n, dtype=bool)
    tolerance = _EQUAL * float(np.abs(h).max())
    for _ in range(10 * n):
        gradient = h - g @ x
        gradient[free] = -np.inf
        largest = float(gradient.max())
        if largest <= tolerance:
            break
        best = int(np.argmax(gradient >= largest - tolerance))
        free[best] = True
        while True:
            trial = np.zeros(n)
            trial[free] = np.linalg.lstsq(g[np.ix_(free, free)], h[free], rcond=None)[0]
            if bool((trial[free] > 0).all()):
                break
            # Go towards the trial until the first coefficient reaches 0, and fix it there.
            down = free & (trial <= 0)
            share = float(np.min(x[down] / np.maximum(x[down] - trial[down], 1e-300)))
            x = x + share * (trial - x)
            free &= x > 1e-15
            x[~free] = 0
            if not free.any():
                trial = np.zeros(n)
                break
        x = trial
    return x / scale


@dataclass(frozen=True, slots=True)
class Robust:
    """A fit. `weights`: the last round's, divided by the squared spread; `residuals`: in the unit of y."""

    x: Array
    weights: Array
    residuals: Array
    scale: float
    """The standard deviation of the residuals, at the median size of y."""
    stretch: float
    """A new sample would move x by this times what a resample at fixed weights does, because its weights would differ.
    E(weight) / E(the derivative of weight x residual), 1.21 if the errors are normal (Maronna, Martin and Yohai 2006).
    """


def fit(a: Array, y: Array) -> Robust:
    """Coefficients >= 0 of `a` (rows, columns) for y: first with Huber's weights, then with Tukey's, which leave far
    outliers out.

    The spread of the errors is assumed to be half constant and half proportional to y: stamps vary by a constant, a
    server's steps in proportion to their length.
    """
    x = nonnegative(a.T @ a, a.T @ y)
    middle = float(np.median(y))
    for turn in range(_HUBER_ROUNDS + _BISQUARE_ROUNDS):
        fitted = a @ x
        spread = 0.5 + 0.5 * np.maximum(fitted, 0) / middle
        size = np.abs(y - fitted) / spread
        scale = max(_MAD * float(np.median(size)), 1e-6 * middle)
        size = size / scale
        if turn < _HUBER_ROUNDS:
            factors = np.minimum(1.0, HUBER / np.maximum(size, 1e-12))
        else:
            inside = np.maximum(1 - (size / BISQUARE) ** 2, 0.0)
            factors = inside**2
        weights = factors / spread**2
        weighted = a * weights[:, None]
        before, x = x, nonnegative(a.T @ weighted, weighted.T @ y)
        if turn > _HUBER_ROUNDS and float(np.abs(x - before).max()) <= _STILL * float(np.abs(x).max()):
            break
    mean, slope = (float(np.average(of, weights=spread**-2)) for of in (factors, inside * (5 * inside - 4)))
    return Robust(x, weights, y - a @ x, scale, mean / max(slope, mean / _MOST_STRETCH))
