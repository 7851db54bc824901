"""A distribution: a law with its unit and its limits.

- Tokens are whole: a draw is rounded to the nearest whole number. Times are nanoseconds.
- `min` and `max` truncate: a draw outside is discarded and drawn again, never moved to the limit. Both are included.
- Without `min`, the minimum is 1 token or 0 ns, unless the user listed the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptset.distributions.family import Law
from promptset.distributions.values import Dimension
from promptset.errors import SpecError
from promptset.rng import Random

_SUMMED = 2048
_FURTHEST = 2.0**62
"""Upper bound for lengths and times: 146 years in ns."""
_LISTED = 65_536


@dataclass(frozen=True, slots=True)
class Distribution:
    """A random quantity. `str()` returns a spec that parses back to an equal one."""

    spec: str
    dimension: Dimension
    law: Law
    low: float
    """The minimum, included (tokens or ns)."""
    high: float
    """The maximum, included (tokens or ns). Infinite if there is none."""

    def __str__(self) -> str:
        return self.spec

    def sample(self, rng: Random) -> float:
        """One value: a whole number of tokens, or nanoseconds."""
        draw = self.law.draw
        if self.dimension == "tokens":
            while not self.low <= (value := math.floor(draw(rng) + 0.5)) <= self.high:
                pass
            return float(value)
        while not self.low <= (time_ns := draw(rng)) <= self.high:
            pass
        return time_ns

    @property
    def constant(self) -> float | None:
        """The value of a constant distribution. None if several values are possible."""
        listed = self.law.atoms(self.low, self.high)
        return listed[0][0] if listed is not None and len(listed) == 1 else None

    def kept(self) -> float:
        """The share of the law's draws that lie inside the limits."""
        half = 0.5 if self.dimension == "tokens" else 0.0
        return self.law.mass(self.low - half, self.high + half)

    def share_below(self, limit: float) -> float:
        """P(sample < limit), in closed form. `limit` is in tokens or ns."""
        half = 0.5 if self.dimension == "tokens" else 0.0
        return max(0.0, 1.0 - self.law.mass(limit - half, self.high + half) / self.kept())

    def cdf(self, value: float) -> float:
        """P(sample <= value), limits and rounding included, in closed form. `value` is in tokens or ns."""
        if self.dimension == "tokens":
            value = math.floor(value) + 0.5
            low = self.low - 0.5
        else:
            low = self.low
        if value < low:
            return 0.0
        high = self.high + 0.5 if self.dimension == "tokens" else self.high
        return 1.0 if value >= high else min(1.0, self.law.mass(low, value) / self.kept())

    def quantile(self, share: float) -> float:
        """The smallest value whose `cdf` is at least `share` (0 < share < 1): a whole number of tokens, or ns.

        Found by bisection of the closed-form cdf until no number lies between, so it is exact for lists of values too.
        """
        if not 0.0 < share < 1.0:
            raise ValueError(f"a quantile needs a share above 0 and below 1, not {share}")
        below, above = float(self.low) - 1.0, max(1.0, 2.0 * self.low)
        while self.cdf(above) < share:
            below, above = above, 2.0 * above
            if above > _FURTHEST:
                raise SpecError(f"{self}: its values grow beyond all bounds: give it a smaller spread, or a max")
        whole = self.dimension == "tokens"
        while True:
            middle = below + (above - below) / 2.0
            if whole:
                middle = float(math.floor(middle))
            if not below < middle < above:
                return above
            if self.cdf(middle) < share:
                below = middle
            else:
                above = middle

    def atoms(self) -> list[tuple[float, float]] | None:
        """(value, probability) of every possible sample, ascending. None if there are too many.

        Times of a continuous law are too many, and so are tokens over a range of more than 65,536.
        """
        half = 0.5 if self.dimension == "tokens" else 0.0
        listed = self.law.atoms(self.low - half, self.high + half)
        if listed is None and self.dimension == "tokens":
            last = self.quantile(1.0 - 1e-12)
            if last - self.low <= _LISTED:
                mass = self.law.mass
                listed = [(float(k), mass(k - 0.5, k + 0.5)) for k in range(int(self.low), int(last) + 1)]
        if listed is None:
            return None
        total = math.fsum(share for _, share in listed)
        return [(value, share / total) for value, share in listed if share > 0.0]

    def part(self, low: float, high: float) -> tuple[float, float]:
        """P(low <= time <= high), and the mean of the times in that range (ns), for a continuous law in closed form."""
        low, high = max(low, self.low), min(high, self.high)
        mass = self.law.mass(low, high)
        if not mass > 0.0:
            return 0.0, low
        return mass / self.kept(), min(max(self.law.partial_mean(low, high) / mass, low), high)

    def mean(self) -> float:
        """The expected value of `sample` (tokens or ns), limits and rounding included, in closed form.

        For tokens, E[N] = sum of k P(k - 1/2 <= X <= k + 1/2) is summed over the first 2,048 values. Beyond them the
        mean of X replaces that of N, which changes the result by less than one part in 1,000.
        """
        if (value := self.constant) is not None and value.is_integer():
            return value  # All other terms of the sum are 0.
        if self.dimension == "time":
            return self.law.partial_mean(self.low, self.high) / self.kept()
        first = int(self.low)
        last = int(min(self.high, first + _SUMMED - 1))
        head = math.fsum(k * self.law.mass(k - 0.5, k + 0.5) for k in range(first, last + 1))
        tail = self.law.partial_mean(last + 0.5, self.high + 0.5) if last < self.high else 0.0
        return (head + tail) / self.kept()
