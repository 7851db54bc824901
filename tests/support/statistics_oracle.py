"""Slow and plain references of the statistics, in pure Python, to check the vectorised code against."""

from __future__ import annotations

import math
from collections.abc import Sequence

SLOPES = (6, 10, 16, 25, 40, 64, 100, 160, 260, 420)


def act(x: Sequence[float], most: int = 2000) -> float:
    """Integrated autocorrelation time, Geyer's initial monotone sequence, term by term."""
    n = len(x)
    if n < 20:
        return float(n)
    b = max(1, math.ceil(n / most))
    m = n // b
    y = [sum(x[i * b : (i + 1) * b]) / b for i in range(m)]
    mean = sum(y) / m
    y = [v - mean for v in y]
    c0 = sum(v * v for v in y) / m
    mx = sum(x) / n
    vx = sum((v - mx) ** 2 for v in x) / n
    if c0 == 0 or vx == 0:
        return 1.0
    total, last, k = 0.0, math.inf, 0
    while 2 * k + 1 < m // 2:
        g = 0.0
        for lag in (2 * k, 2 * k + 1):
            g += sum(p * q for p, q in zip(y, y[lag:], strict=False)) / m / c0
        if g <= 0:
            break
        last = min(last, g)
        total += last
        k += 1
    return max(1.0, (2 * total - 1) * b * c0 / vx)


def capacity_mass(
    visits: Sequence[tuple[float, int, int]],
    allowed: float,
    d: float,
    low: float,
    high: float,
    points: int = 200,
    slopes: Sequence[float] = SLOPES,
    median: float = 30.0,
    sigma: float = 1.0,
) -> list[float]:
    """The posterior over capacities, from visits as (load, requests, violations)."""
    a, b = math.log(low), math.log(high)
    capacities = [a + (b - a) * i / (points - 1) for i in range(points)]
    at_capacity, clip = math.log(allowed / (1 - allowed)), math.log(6)
    table = [[-0.5 * (math.log(slope / median) / sigma) ** 2 for slope in slopes] for _ in capacities]
    for load, n, k in visits:
        own = math.log((k + 0.5) / (n - k + 0.5))
        for row, capacity in zip(table, capacities, strict=True):
            for j, slope in enumerate(slopes):
                distance = slope * (math.log(load) - capacity)
                if distance >= clip:
                    logit = max(at_capacity + clip, own)
                elif distance <= -clip:
                    logit = min(at_capacity - clip, own)
                else:
                    logit = at_capacity + distance
                row[j] += (k * logit - n * (math.log1p(math.exp(logit)) if logit < 30 else logit)) / d
    top = max(map(max, table))
    mass = [sum(math.exp(v - top) for v in row) for row in table]
    return [m / sum(mass) for m in mass]


def capacity_mass_of_means(
    visits: Sequence[tuple[float, float, float]], low: float, high: float, points: int = 200
) -> list[float]:
    """The posterior over capacities, from visits as (load, ln(mean / limit), its error): Student's t with 4 degrees of
    freedom."""
    mass = []
    for i in range(points):
        capacity = low * (high / low) ** (i / (points - 1))
        total = 0.0
        for slope in (0.5, 0.8, 1.25, 2, 3.2, 5, 8, 12.5, 20, 32):
            chance = math.exp(-0.5 * math.log(slope / 4) ** 2)
            for load, log_ratio, error in visits:
                predicted = slope * math.log(load / capacity)
                if predicted >= math.log(1.5):
                    predicted = max(math.log(1.5), log_ratio)
                elif predicted <= -math.log(1.5):
                    predicted = min(-math.log(1.5), log_ratio)
                chance *= (1 + ((log_ratio - predicted) / error) ** 2 / 4) ** -2.5
            total += chance
        mass.append(total)
    return [m / sum(mass) for m in mass]
