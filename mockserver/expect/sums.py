"""Quantiles of sums of random times, by numeric convolution.

A distribution becomes weighted points. The points of a sum are placed on an even grid (each is split between its two
neighbours, which keeps its mean). Grids are convolved by the fast Fourier transform. Quantiles are read from the
cumulative sum, with the mass of a grid point spread evenly over its cell.

Errors, all small compared with sampling noise: each point represents a cell of a continuous distribution, with the
cell's exact mass and mean; the grid has 2^14 cells between the minimum and the maximum sum; everything above the 1 -
1e-5 quantile of a part is one point at its mean. The tests compare with simulations: the share of a large sample below
a computed quantile is the requested share, within the noise.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from operator import add, mul, sub

from promptset.distributions import Distribution

Points = list[tuple[float, float]]
"""(value, probability), ascending. The probabilities sum to 1."""

CELLS = 1 << 14
_TAIL = 1e-5
_BULK = 0.999


def points_of(distribution: Distribution, most: int) -> Points:
    """A distribution of times as about `most` points, or all values if they are listed.

    Four fifths of the cells divide the range up to the 99.9% quantile evenly. The others divide the tail evenly in its
    logarithm.
    """
    atoms = distribution.atoms()
    if atoms is not None:
        return atoms
    low, bulk, high = (distribution.quantile(share) for share in (_TAIL, _BULK, 1.0 - _TAIL))
    even, tail = most * 4 // 5, most // 5
    edges = [low + (bulk - low) * i / even for i in range(even + 1)]
    edges += [bulk * (high / bulk) ** (i / tail) for i in range(1, tail + 1)]
    points = []
    for below, above in zip((-math.inf, *edges), (*edges, math.inf), strict=True):
        share, mean = distribution.part(below, above)
        if share > 0.0:
            points.append((mean, share))
    return points


def moments(points: Points) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean = math.fsum(value * share for value, share in points)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 * share for value, share in points))


@dataclass(frozen=True, slots=True)
class Grid:
    """Probability masses at low, low + step, low + 2 step, ..."""

    low: float
    step: float
    masses: list[float]

    def quantile(self, share: float) -> float:
        """The value below which `share` of the mass lies."""
        cumulative = list(accumulate(self.masses))
        target = share * cumulative[-1]
        index = next(i for i, total in enumerate(cumulative) if total >= target)
        mass = self.masses[index]
        inside = (target - (cumulative[index] - mass)) / mass if mass > 0.0 else 0.0
        return self.low + (index - 0.5 + inside) * self.step


def spread(points: Iterable[tuple[float, float]], low: float, step: float, cells: int) -> list[float]:
    """Masses on a grid. Points beyond one end wrap around to the other, where the sums come out the same."""
    masses = [0.0] * cells
    for value, share in points:
        at = (value - low) / step
        index = math.floor(at)
        upper = share * (at - index)
        index %= cells
        masses[index] += share - upper
        masses[index + 1 - cells] += upper
    return masses


def quantile_of_points(points: Points, share: float) -> float:
    """The smallest value with at least `share` of the mass at or below it. `points` can be in any order."""
    total = 0.0
    for value, mass in sorted(points):
        total += mass
        if total >= share - 1e-12:
            return value
    return max(points)[0]


def product_sum(first: Points, counts: Points, each: Points) -> Grid:
    """The distribution of F + K E: one F, one count K, one E."""
    # Products are placed on the grid one by one, so there must not be too many.
    products = [(count * value, a * b) for count, a in counts for value, b in each]
    low = first[0][0] + min(value for value, _ in products)
    high = first[-1][0] + max(value for value, _ in products)
    step = _step(low, high)
    first_transform = transform(spread(first, first[0][0], step, CELLS))
    other = transform(spread(products, low - first[0][0], step, CELLS))
    return Grid(low, step, inverse([a * b for a, b in zip(first_transform, other, strict=True)]))


def repeated_sum(first: Points, counts: Points, each: Points, cells: int = CELLS) -> Grid:
    """The distribution of F + E_1 + ... + E_K: one F, one count K (whole), K independent E."""
    mean, deviation = moments(each)
    least, greatest = each[0][0], each[-1][0]
    lows, highs = [], []
    for count, _ in counts:
        # Eight standard deviations plus one extreme E cover everything that the grid can resolve.
        reach = 8.0 * deviation * math.sqrt(count)
        lows.append(max(count * least, count * mean - reach - (mean - least)))
        highs.append(min(count * greatest, count * mean + reach + greatest))
    low = first[0][0] + min(lows)
    high = first[-1][0] + max(highs)
    step = _step(low, high, cells)
    start = transform(spread(first, low, step, cells))
    base = transform(spread_exactly(each, step, cells))
    half = cells // 2
    # The transform of real masses is symmetric, so one half suffices.
    sums = _powers(base[: half + 1], counts)
    product = [a * b for a, b in zip(start, sums, strict=False)]
    product += [value.conjugate() for value in product[half - 1 : 0 : -1]]
    return Grid(low, step, inverse(product))


def spread_exactly(points: Points, step: float, cells: int) -> list[float]:
    """Masses on the ring, from 0. Each point is split over three cells to keep its mean and variance, because errors
    would accumulate over a long sum. A mass can become slightly negative."""
    masses = [0.0] * cells
    for value, share in points:
        index = round(value / step)
        off = value / step - index
        masses[index % cells] += share * (1.0 - off * off)
        masses[(index + 1) % cells] += share * (off * off + off) / 2.0
        masses[(index - 1) % cells] += share * (off * off - off) / 2.0
    return masses


def _powers(factors: list[complex], counts: Points) -> list[complex]:
    """E[factor^K] of each factor. Each power is computed from the previous one, and most steps are equal."""
    totals = [0j] * len(factors)
    powers = [1 + 0j] * len(factors)
    steps: dict[int, list[complex]] = {}
    reached = 0
    for count, share in counts:
        ahead = round(count) - reached
        if ahead not in steps:
            steps[ahead] = [factor**ahead for factor in factors]
        powers = [*map(mul, powers, steps[ahead])]
        totals = [total + share * power for total, power in zip(totals, powers, strict=True)]
        reached += ahead
    return totals


def _step(low: float, high: float, cells: int = CELLS) -> float:
    """Leave some cells free at the end, so that rounding does not wrap around."""
    return max((high - low) / (cells - 8), 1e-9)


@cache
def _roots(n: int) -> Sequence[complex]:
    return [cmath.exp(-2j * math.pi * k / n) for k in range(n // 2)]


def _fft(values: Sequence[complex]) -> list[complex]:
    """Cooley-Tukey, for a power of two."""
    n = len(values)
    if n == 1:
        return list(values)
    if n == 2:  # Half of all calls end here.
        first, second = values
        return [first + second, first - second]
    even, odd = _fft(values[::2]), _fft(values[1::2])
    turned = [*map(mul, _roots(n), odd)]
    return [*map(add, even, turned), *map(sub, even, turned)]


def transform(masses: Sequence[float]) -> list[complex]:
    """The discrete Fourier transform. The length must be a power of two."""
    return _fft([complex(mass) for mass in masses])


def inverse(values: Sequence[complex]) -> list[float]:
    """The inverse of `transform`."""
    n = len(values)
    back = _fft([value.conjugate() for value in values])
    return [value.real / n for value in back]
