"""Which of several arms is best, from visits made in rounds: each round visits every remaining arm once.

A visit gives one value on the log scale, y = arm + round + noise. Drift between rounds affects all values of a round,
and cancels in the differences of two arms over their common rounds:

    d = mean of (y_a - y_b),    error = s sqrt(2 / n),    t = d / error    with the degrees of freedom of s

s is the root of the residual variance of the additive fit over all arms and rounds: with eight arms two rounds give
seven degrees of freedom, where the two differences of a single pair would give one. If the spread of the pair's own
differences is larger, it is used, so that an unsteady arm does not pass for a steady one; from `OWN_FROM` common rounds
on with its own degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from bench.statistics.student import t_quantile, two_sided

OWN_FROM = 4
_SWEEPS = 200
_EXACT = 1e-6
"""A floor of s: visits to a deterministic server can agree exactly."""

Values = Sequence[Mapping[int, float]]
"""For each round, the logarithm of each arm's value. An arm that left, or had no value, is missing."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of a visit on the log scale, after its arm and its round are accounted for."""

    sd: float
    degrees: int


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much an arm exceeds another, on the log scale."""

    mean: float
    error: float
    degrees: float
    rounds: int

    def p_above(self) -> float:
        """One-sided p of the hypothesis that the arm does not exceed the other."""
        half = two_sided(self.mean / self.error, self.degrees) / 2
        return half if self.mean > 0 else 1 - half

    def interval(self, alpha: float) -> tuple[float, float]:
        """The two-sided interval at level 1 - alpha."""
        reach = t_quantile(1 - alpha / 2, self.degrees) * self.error
        return self.mean - reach, self.mean + reach


def noise(values: Values) -> Noise | None:
    """The noise of a visit. Returns None without residual degrees of freedom."""
    arms = {arm for row in values for arm in row}
    rounds = [row for row in values if row]
    degrees = sum(map(len, rounds)) - len(arms) - len(rounds) + 1
    if not rounds or degrees < 1:
        return None
    of_arm = dict.fromkeys(arms, 0.0)
    of_round = [0.0] * len(rounds)
    # Alternating least squares. Arms only leave, so every round shares its arms with the previous ones.
    for _ in range(_SWEEPS):
        of_round = [fmean(y - of_arm[arm] for arm, y in row.items()) for row in rounds]
        before = of_arm
        of_arm = {
            arm: fmean(row[arm] - level for row, level in zip(rounds, of_round, strict=True) if arm in row)
            for arm in arms
        }
        if max(abs(of_arm[arm] - before[arm]) for arm in arms) < _EXACT / 100:
            break
    squares = [
        (y - of_arm[arm] - level) ** 2 for row, level in zip(rounds, of_round, strict=True) for arm, y in row.items()
    ]
    return Noise(max(math.sqrt(math.fsum(squares) / degrees), _EXACT), degrees)


def gap(values: Values, arm: int, other: int, spread: Noise) -> Gap | None:
    """By how much an arm exceeds another over their common rounds. Returns None if there are none."""
    differences = [row[arm] - row[other] for row in values if arm in row and other in row]
    n = len(differences)
    if not n:
        return None
    pooled = Gap(fmean(differences), spread.sd * math.sqrt(2 / n), spread.degrees, n)
    if n < 2:
        return pooled
    error = math.sqrt(variance(differences) / n)
    return pooled if error <= pooled.error else Gap(pooled.mean, error, n - 1 if n >= OWN_FROM else spread.degrees, n)


def level(alpha: float, look: int, comparisons: int) -> float:
    """The level of one comparison at a look, counted from 1: alpha / (look (look + 1)), which sums to alpha over any
    number of looks, divided by the number of comparisons (Bonferroni)."""
    return alpha / (look * (look + 1)) / max(comparisons, 1)
