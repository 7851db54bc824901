"""a0 and a1: what a request waits for beside the steps, from the TTFT that these leave. Network and client are in it.

A request that comes to an idle server starts a step at once: TTFT less that step is a0 + a1 x its prompt tokens. One that
comes to a busy server joins the first step that begins after its a0: so a0 lies between the beginnings of two steps, less
the time of sending, and the a0 that most requests allow is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.fit import robust
from bench.fit.coefficients import Coefficient
from bench.fit.steps import Clusters, StepTable
from bench.fit.streams import Stream

LEAST_IDLE, LEAST_BUSY = 12, 30
_SPREAD = 4.0
"""Prompts whose longest is so many times the shortest can tell a1 from a0."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """`how`: idle (requests that found the server idle), busy, or none (too few requests of either kind)."""

    a0: Coefficient
    a1: Coefficient
    how: str
    requests: int


def fit_front_end(
    runs: Sequence[tuple[Sequence[Stream], Clusters, StepTable]], cost: tuple[float, ...], budget: int | None
) -> FrontEnd:
    """a0 and a1 in us and us a token; both 0 and not told where nothing shows them."""
    idle = [point for streams, _, _ in runs for point in _idle(streams, cost, budget)]
    if len(idle) >= LEAST_IDLE:
        return _of_idle(idle)
    bounds = [bound for streams, clusters, table in runs for bound in _busy(streams, clusters, table)]
    if len(bounds) >= LEAST_BUSY:
        return _of_busy(bounds)
    nothing = Coefficient(0.0, 0.0, math.inf, told=False)
    return FrontEnd(nothing, nothing, "none", len(idle) + len(bounds))


def _idle(streams: Sequence[Stream], cost: tuple[float, ...], budget: int | None) -> list[tuple[int, float]]:
    """(prompt tokens, TTFT less its steps) of each request that was alone from its sending to its first token."""
    b0, b1, _, _ = cost
    found = []
    busy_until = -math.inf
    for place, stream in enumerate(streams):
        alone = stream.sent_us > busy_until
        busy_until = max(busy_until, stream.end_us)
        if not (alone and stream.sure):
            continue
        first_us = stream.arrivals_us[0]
        if place + 1 < len(streams) and streams[place + 1].sent_us < first_us:
            continue
        steps = 1 if budget is None else math.ceil(stream.fresh_tokens / budget)
        found.append((stream.prompt_tokens, first_us - stream.sent_us - steps * b0 - b1 * stream.fresh_tokens))
    return found


def _of_idle(points: list[tuple[int, float]]) -> FrontEnd:
    prompts, left = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    varied = float(prompts.max()) >= _SPREAD * float(prompts.min())
    # The robust fit weighs by the size of what it fits: shift it, so that a rest near 0 has a size.
    shift = max(1.0, float(np.quantile(np.abs(left), 0.9)))
    design = np.column_stack((np.ones_like(prompts), prompts)) if varied else np.ones((len(prompts), 1))
    found = robust.fit(design, left + shift)
    slope = float(found.x[1]) if varied else 0.0
    kept = found.weights > 0
    rest = left[kept] - slope * prompts[kept]
    a0 = max(0.0, float(np.average(rest, weights=found.weights[kept])))
    error = 2 * found.scale / math.sqrt(len(rest))
    of_slope = error / max(float(np.std(prompts)), 1.0)
    return FrontEnd(
        Coefficient(a0, max(0.0, a0 - error), a0 + error, told=True),
        Coefficient(slope, max(0.0, slope - of_slope), slope + of_slope, told=varied),
        "idle",
        len(points),
    )


def _busy(streams: Sequence[Stream], clusters: Clusters, table: StepTable) -> list[tuple[float, float]]:
    """Bounds of a0 from each request whose first token a step brought that is sure, and the one before too."""
    found = []
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure or places[0] < 1:
            continue
        first = places[0]
        if table.sure[first] and table.sure[first - 1]:
            low, high = float(table.begin_us[first - 1]), float(table.begin_us[first])
            found.append((low - stream.sent_us, high - stream.sent_us))
    return found


def _of_busy(bounds: list[tuple[float, float]]) -> FrontEnd:
    """The a0 that most bounds allow: between the last lower and the first upper bound where their count is highest."""
    events = sorted([(low, 1) for low, _ in bounds if low > -math.inf] + [(high, -1) for _, high in bounds])
    allowed, best, where = sum(low == -math.inf for low, _ in bounds), -1, (0.0, 0.0)
    for (at, change), (following, _) in pairwise(events):
        allowed += change
        if allowed > best and following > max(at, 0.0):
            best, where = allowed, (max(at, 0.0), following)
    a0 = sum(where) / 2
    # In a closed loop requests come right after a step: any a0 below a step fits, and none is shown.
    told = best > len(bounds) / 2 and where[1] - where[0] < a0 / 2
    unknown = Coefficient(0.0, 0.0, math.inf, told=False)
    return FrontEnd(Coefficient(a0, *where, told=told), unknown, "busy", len(bounds))
