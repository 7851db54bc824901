"""Decides where a search looks first: the load to scout next, and the domain in which its visits begin.

As long as nothing breaks, the load doubles. After a load that breaks it halves, or drops to the rate that the
overloaded server delivered, if that is lower. A gap of more than a factor of 2.5 is scouted in its middle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.load_search.evidence import hint_fails
from bench.load_search.goals import Goal
from bench.load_search.visits import Result

_GAP = 2.5
_LEAST_STEP, _MOST_STEP = 2.0, 16.0
WIDER = 1.6
_FAR = 8.0


def next_load(failed: Mapping[float, Result], tried: Sequence[float], least: float, most: float) -> float | None:
    """The load to scout next; None if a load that holds and a load that fails are known, or if a limit is reached.

    `failed`: the failed results by load. `tried`: all loads; those below every failed load have held.
    """
    lowest = min(failed, default=math.inf)
    highest = max((load for load in tried if load < lowest), default=None)
    if not failed:
        return None if highest is None or highest >= most else 2 * highest
    if highest is None:
        return None if lowest <= least else lower(failed[lowest])
    return None if lowest <= _GAP * highest else min(2 * highest, math.sqrt(lowest * highest))


def lower(failed: Result) -> float:
    """The load to try after a load that failed."""
    load = failed.load / _LEAST_STEP
    if failed.seconds > 0:
        delivered = failed.load * (failed.settle_s + failed.measure_s) / failed.seconds
        load = max(min(load, delivered), failed.load / _MOST_STEP)
    return load


def domain(goals: Sequence[Goal], hints: Sequence[Result], least: float) -> tuple[float, float]:
    """From 1/1.6 of the highest load that broke nothing clearly to 1.2 times the lowest that did. If none did, far above."""
    lowest = min((result.load for result in hints if hint_fails(goals, result)), default=math.inf)
    loads = [result.load for result in hints if result.load < lowest]
    low = max(loads, default=least) / WIDER
    return low, 1.2 * (max(2 * low, lowest) if lowest < math.inf else _FAR * low)
