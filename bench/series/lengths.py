"""How long a run of a series lasts: first the server settles, then the run measures."""

from __future__ import annotations

_LONGEST_MEASURE_S = 300.0
_LONGEST_SETTLE_S = 120.0


def settle_and_measure_s(
    requests_per_s: float | None, e2el_p90_s: float | None, *, share: float = 1.0, settle_at_most_s: float = 0.0
) -> tuple[float, float]:
    """Seconds to settle and to measure, given the expected latency, if known.

    A closed loop does not know its rate beforehand. `share`: the share of the usual times, if all runs together have
    less time. A server settles for two minutes at most, or for `settle_at_most_s` if that is longer.
    """
    e2el = 0.0 if e2el_p90_s is None else e2el_p90_s
    gap = 0.0 if requests_per_s is None else 1 / requests_per_s
    # A run must outlast its requests: a shorter one would see an empty server. So this part does not shrink with
    # `share`.
    settle = min(max(10 * share, 2 * e2el), max(_LONGEST_SETTLE_S, settle_at_most_s))
    return settle, min(max(60 * share, 2.5 * e2el, 200 * share * gap), _LONGEST_MEASURE_S)
