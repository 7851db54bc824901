"""How the steps of a server vary around their fitted cost: measured deviations, resampled in blocks.

    {"power": p, "at_us": t, "block": n, "levels": [{"decodes": d, "shares": [...]}, ...]}

A step of cost T takes T + share x t x (T / t)^p: with p = 1 the deviation is proportional to the step, with p = 0 it is
a time. `shares` are the deviations of successive steps. A draw begins at a random place and continues from step to
step; each step ends the block with probability 1 / n (stationary bootstrap, Politis and Romano 1994). Distribution and
serial correlation are then the measured ones, whatever their shape. A server that varies differently under load has
several levels; each block uses one of the two levels with the nearest number of decode tokens.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from mockserver.rng import Random

_KEYS = ("power", "at_us", "block", "levels")


@dataclass(frozen=True, slots=True)
class Level:
    """Deviations of successive steps, and the mean number of decode tokens of these steps."""

    decodes: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StepVariation:
    """The numbers of the module docstring."""

    power: float
    at_us: float
    block: float
    levels: tuple[Level, ...]

    def us(self, cost_us: float, share: float) -> float:
        """The length of a step of this cost with this deviation."""
        return max(0.0, cost_us + share * self.at_us * math.pow(cost_us / self.at_us, self.power))

    def mean_us(self, cost_us: float, decodes: float) -> float:
        """The mean length of steps of this cost and batch."""
        low, high, inside = self.between(decodes)
        means = [math.fsum(self.levels[place].shares) / len(self.levels[place].shares) for place in (low, high)]
        return self.us(cost_us, means[0] + inside * (means[1] - means[0]))

    def between(self, decodes: float) -> tuple[int, int, float]:
        """The two levels around a batch, and its relative position between them on a log scale."""
        place = bisect_left(self.levels, decodes, key=lambda level: level.decodes)
        if place == 0 or place == len(self.levels):
            nearest = min(place, len(self.levels) - 1)
            return nearest, nearest, 0.0
        low, high = (math.log1p(self.levels[place - offset].decodes) for offset in (1, 0))
        return place - 1, place, (math.log1p(decodes) - low) / (high - low)


class StepDraws:
    """Deviations for one engine, step after step."""

    def __init__(self, variation: StepVariation, chance: Random) -> None:
        self._variation = variation
        self._chance = chance
        self._ends = 1 / max(1.0, variation.block)
        self._shares: tuple[float, ...] = ()
        self._place = 0

    def ns(self, cost_ns: int, decodes: int) -> int:
        """The length of the next step, from its cost. Both in ns; at least 1."""
        place = self._place
        if place >= len(self._shares) or self._chance.random() < self._ends:
            low, high, inside = self._variation.between(decodes)
            level = high if inside > 0 and self._chance.random() < inside else low
            self._shares = self._variation.levels[level].shares
            place = self._chance.randrange(len(self._shares))
        self._place = place + 1
        return max(1, round(self._variation.us(cost_ns / 1000, self._shares[place]) * 1000))


def variation_of(row: object) -> tuple[StepVariation | None, list[str]]:
    """Parse a variation. Also returns a sentence for each problem."""
    if not isinstance(row, dict):
        return None, [f"variation: must be an object with {', '.join(_KEYS)}"]
    problems = [
        f"variation: no key is called {key!r}; the keys are {', '.join(_KEYS)}" for key in row if key not in _KEYS
    ]
    problems += [f"variation: {key} is missing" for key in _KEYS if key not in row]
    for key, least, most in (("power", 0.0, 1.0), ("at_us", 1e-3, 1e12), ("block", 1.0, 1e9)):
        if key in row and not (is_number(row[key]) and least <= row[key] <= most):
            problems.append(f"variation: {key}={row[key]!r}: write a number from {least:g} to {most:g}")
    if "levels" in row and not _are_levels(row["levels"]):
        problems.append('variation: levels: write objects like {"decodes": 4, "shares": [0, 0.1]}, with rising decodes')
    if problems:
        return None, problems
    levels = tuple(Level(float(level["decodes"]), tuple(map(float, level["shares"]))) for level in row["levels"])
    return StepVariation(float(row["power"]), float(row["at_us"]), float(row["block"]), levels), []


def is_number(value: object) -> bool:
    """Whether a parsed value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_levels(levels: object) -> bool:
    if not isinstance(levels, list) or not levels:
        return False
    for level in levels:
        if not isinstance(level, dict) or level.keys() != {"decodes", "shares"} or not is_number(level["decodes"]):
            return False
        if not isinstance(level["shares"], list) or not level["shares"] or not all(map(is_number, level["shares"])):
            return False
    decodes = [level["decodes"] for level in levels]
    return decodes[0] >= 0 and decodes == sorted(set(decodes))
