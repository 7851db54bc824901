"""How the requests of an open loop arrived, compared with a Poisson process."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import pairwise


def arrivals(times_ns: list[int]) -> dict[str, float | None]:
    """Of sorted instants: requests per second over their span, the dispersion of their counts per second (Poisson: 1),
    the coefficient of variation of their gaps (Poisson: 1), and the greatest distance of the gaps' distribution from
    the exponential distribution of the same mean (Poisson: about 0.9/sqrt(n); evenly spaced: 0.63). None: too few to
    tell."""
    span_s = (times_ns[-1] - times_ns[0]) / 1e9
    seconds = Counter(int((at - times_ns[0]) / 1e9) for at in times_ns)
    counts = [seconds[second] for second in range(int(span_s))]
    dispersion = statistics.variance(counts) / statistics.mean(counts) if len(counts) > 1 and any(counts) else None
    gaps = [(after - before) / 1e9 for before, after in pairwise(times_ns)]
    told = len(gaps) > 1 and span_s > 0
    return {
        "arrived_rps": (len(times_ns) - 1) / span_s if span_s else None,
        "dispersion": dispersion,
        "gaps_cv": statistics.stdev(gaps) / statistics.mean(gaps) if told else None,
        "gaps_distance": _distance(gaps) if told else None,
    }


def _distance(gaps: list[float]) -> float:
    """The Kolmogorov-Smirnov distance between the gaps' steps and 1 - exp(-gap / mean)."""
    mean, n = statistics.mean(gaps), len(gaps)
    expected = [1 - math.exp(-gap / mean) for gap in sorted(gaps)]
    return max(max(p - k / n, (k + 1) / n - p) for k, p in enumerate(expected))
