"""Shares of the same probes under two conditions: intervals, paired tests, and how many probes would show a change.

Of n probes, each asked alone and under load, a did well both times, b only alone, c only under load, d never.

*McNemar* (Psychometrika 12, 1947): if load changes nothing, each of the b + c discordant pairs is as likely to be lost
as won. With m = min(b, c):

    exact p = min(1, 2 sum_{k<=m} C(n, k) / 2^n)      mid-p = 2 sum_{k<=m} C(n, k) / 2^n - C(n, m) / 2^n     n = b + c

The mid-p keeps its level and is less cautious than the exact test (Fagerland, Lydersen and Laake, BMC Medical Research
Methodology 13, 2013).

*A probe asked several times* is a stratum. If load changes nothing, its failures are distributed over its answers at
random: the number under load is hypergeometric. `stratified_mid_p` adds the strata exactly. With one answer each it is
McNemar's mid-p.

*The difference* D = (b - c) / n has Newcombe's interval (Statistics in Medicine 17, 1998, method 10), which is based on
Wilson's intervals of both shares and their correlation. It exists if b = c = 0, where it shows how much n probes can
miss.

*A single share* has Clopper and Pearson's interval (Biometrika 26, 1934): exact, for rates that should have no events.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from bench.statistics.intervals import TAIL, Interval
from bench.statistics.student import NORMAL_QUANTILE, incomplete_beta

ALPHA = 0.01
"""Level of the tests, after Holm's correction for all of them."""
MARGIN = 0.01
"""By default, a smaller change of a share does not matter."""
MOST_PROBES = 10_000_000
"""More are never suggested."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many probes did well alone and loaded, only alone, only loaded, and never. A probe counts fractionally if its
    answers differ among themselves."""

    both: float
    alone: float
    loaded: float
    neither: float

    @property
    def n(self) -> float:
        return self.both + self.alone + self.loaded + self.neither

    def times(self, factor: float) -> Pairs:
        """As many more probes with the same shares."""
        return Pairs(self.both * factor, self.alone * factor, self.loaded * factor, self.neither * factor)


@dataclass(frozen=True, slots=True)
class Stratum:
    """The answers of one probe: their numbers alone and loaded, and how many of each are bad."""

    alone: int
    alone_bad: int
    loaded: int
    loaded_bad: int


def mcnemar_mid_p(b: int, c: int) -> float:
    """The mid-p of McNemar's test."""
    return 2 * _tail(b, c) - _chance(b + c, min(b, c))


def _tail(b: int, c: int) -> float:
    """P(X <= m) of a binomial distribution with p = 1/2, by the incomplete beta function."""
    return incomplete_beta(0.5, max(b, c), min(b, c) + 1) if b + c else 1.0


def _chance(n: int, k: int) -> float:
    return math.comb(n, k) / (1 << n)


def stratified_mid_p(strata: Sequence[Stratum]) -> float:
    """The mid-p of the exact conditional test over probes that were asked several times; 1 if nothing differs."""
    same = Counter((s.alone + s.loaded, s.loaded, s.alone_bad + s.loaded_bad) for s in strata)
    chances: npt.NDArray[np.float64] = np.ones(1)
    least = 0
    for (answers, loaded, bad), times in same.items():
        low, high = max(0, bad - (answers - loaded)), min(bad, loaded)
        least += low * times
        if low == high:
            continue
        ways = [math.comb(bad, k) * math.comb(answers - bad, loaded - k) for k in range(low, high + 1)]
        chances = np.convolve(chances, _power(np.array([way / math.comb(answers, loaded) for way in ways]), times))
    observed = sum(s.loaded_bad for s in strata) - least
    half = float(chances[observed]) / 2
    return min(1.0, 2 * min(float(chances[:observed].sum()) + half, float(chances[observed + 1 :].sum()) + half))


def _power(chances: npt.NDArray[np.float64], times: int) -> npt.NDArray[np.float64]:
    """The distribution of the sum of `times` independent values."""
    result: npt.NDArray[np.float64] = np.ones(1)
    while times:
        if times % 2:
            result = np.convolve(result, chances)
        times //= 2
        if times:
            chances = np.convolve(chances, chances)
    return result


def clopper_pearson(k: float, n: float) -> Interval:
    """The exact interval of a share of k in n, with `TAIL` left out on either side. k need not be whole: it is the sum
    of shares of n probes that were asked several times. Raises ValueError for n < 1."""
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"no share of {k} in {n}")
    # P(X >= k) at the lower end, and P(X <= k) at the upper end, equal the tail.
    low = 0.0 if k == 0 else _crossing(lambda p: incomplete_beta(p, k, n - k + 1), TAIL)
    high = 1.0 if k == n else _crossing(lambda p: incomplete_beta(p, k + 1, n - k), 1 - TAIL)
    return Interval(low, high)


def _crossing(rising: Callable[[float], float], value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def wilson(share: float, n: float) -> Interval:
    """Wilson's interval of a share of n independent values."""
    z2 = NORMAL_QUANTILE**2
    center = share + z2 / (2 * n)
    spread = NORMAL_QUANTILE * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(max(0.0, (center - spread) / (1 + z2 / n)), min(1.0, (center + spread) / (1 + z2 / n)))


def newcombe(pairs: Pairs) -> Interval:
    """The interval of the fall under load: the share alone minus the share loaded. Raises ValueError without a pair."""
    n = pairs.n
    if not n > 0:
        raise ValueError("a difference needs a pair")
    alone, loaded = (pairs.both + pairs.alone) / n, (pairs.both + pairs.loaded) / n
    of_alone, of_loaded = wilson(alone, n), wilson(loaded, n)
    difference, phi = (pairs.alone - pairs.loaded) / n, _phi(pairs)
    below, above = alone - of_alone.low, of_alone.high - alone
    loaded_below, loaded_above = loaded - of_loaded.low, of_loaded.high - loaded
    return Interval(
        difference - math.sqrt(max(0.0, below**2 - 2 * phi * below * loaded_above + loaded_above**2)),
        difference + math.sqrt(max(0.0, above**2 - 2 * phi * above * loaded_below + loaded_below**2)),
    )


def _phi(pairs: Pairs) -> float:
    """The correlation of both answers, with Newcombe's correction of a positive one."""
    a, b, c, d = pairs.both, pairs.alone, pairs.loaded, pairs.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins <= 0:
        return 0.0
    numerator = a * d - b * c
    return (max(0.0, numerator - pairs.n / 2) if numerator > 0 else numerator) / math.sqrt(margins)


class Decision(StrEnum):
    """The decision of a comparison of answers."""

    CHANGED = "changed"
    """Load changes the answers."""
    WITHIN_MARGIN = "within the margin"
    """It changes them by no more than the margin."""
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class PairedShare:
    """The change of a share, from pairs."""

    pairs: Pairs

    @property
    def fall(self) -> float:
        """How much the share falls under load."""
        return (self.pairs.alone - self.pairs.loaded) / self.pairs.n

    def decide(self, p: float, margin: float, alpha: float = ALPHA) -> Decision:
        """The decision, by `p` corrected for all tests. The test shows a change, the whole interval shows its absence.
        A change within the margin counts as none, however certain it is."""
        interval = newcombe(self.pairs)
        if -margin < interval.low and interval.high < margin:
            return Decision.WITHIN_MARGIN
        return Decision.CHANGED if p < alpha else Decision.NOT_SHOWN

    def probes_to_show(self, margin: float, tests: int, alpha: float = ALPHA) -> int | None:
        """How many probes with the same shares would differ from chance, or be within the margin, whichever takes
        fewer; corrected for `tests`. Returns None if that takes more than MOST_PROBES."""
        return _least(lambda n: self._shows(n, margin, alpha / tests), math.ceil(self.pairs.n))

    def _shows(self, n: int, margin: float, alpha: float) -> bool:
        pairs = self.pairs.times(n / self.pairs.n)
        interval = newcombe(pairs)
        if -margin < interval.low and interval.high < margin:
            return True
        b, c = math.floor(pairs.alone), math.floor(pairs.loaded)
        return b != c and _differs(b, c, alpha)


def _differs(b: int, c: int, alpha: float) -> bool:
    if b + c <= 500:
        return mcnemar_mid_p(b, c) < alpha
    return math.erfc(abs(b - c) / math.sqrt(2 * (b + c))) < alpha  # The normal distribution is exact enough here.


def _least(holds: Callable[[int], bool], begin: int) -> int | None:
    """The least number from `begin` for which it holds, assuming that it then keeps holding; to three digits."""
    high = max(1, begin)
    while not holds(high):
        low, high = high, 2 * high
        if high > MOST_PROBES:
            return None
    if high == max(1, begin):
        return high
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def none_seen(n: int) -> float:
    """The rate that n answers without an event exclude with 95%, one-sided."""
    return float(1 - 0.05 ** (1 / n))
