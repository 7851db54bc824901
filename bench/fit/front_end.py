"""a0, a1 and w0: a request's wait besides its steps, from the TTFT that remains. It includes network and client.

A request to an idle server waits for TTFT less its steps: a0 + a1 x its prompt tokens + w0, the time that the server
takes to wake up. A request to a busy server joins the first step that begins after its a0 + a1 x its prompt: so a0 lies
between the beginnings of two steps, less the time of sending. Most servers are as fast when idle: then w0 is 0. If the
wait of an idle server is longer than most requests of some load allow, a0 is the middle of what they allow, and the
rest is w0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.fit import robust
from bench.fit.coefficients import Coefficient
from bench.fit.steps import Clusters, StepTable
from bench.fit.streams import Stream

LEAST_IDLE, LEAST_BUSY = 12, 30
_DISAGREE = 0.15
"""The idle server's a0 is rejected if another a0 fits more requests of a load, by this share of them."""
UNKNOWN = Coefficient(0.0, 0.0, math.inf, told=False)
_SPREAD = 4.0
"""If the longest prompt is this many times the shortest, a0 and a1 can be separated."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """`how`: idle (from requests to an idle server), busy, both (the two disagree), or none (too few of either)."""

    a0: Coefficient
    a1: Coefficient
    w0: Coefficient
    how: str
    requests: int

    def beside_unknown_base(self, b0: Coefficient) -> FrontEnd:
        """The same, if the time that every step takes is unknown: an idle server may wait for any part of it."""
        if self.how not in ("idle", "both"):
            return self
        a0 = self.a0 if self.how == "both" else self.a0.untold(b0.high)
        return replace(self, a0=a0, w0=self.w0.untold(b0.high))

    def beside_unknown_steps(self) -> FrontEnd:
        """The same, if the time that a prompt's steps take is unknown: a1 may be any part of it, and so may a0 if
        prompts are too alike to determine a1."""
        a0 = self.a0 if self.a1.told or self.how != "idle" else self.a0.untold()
        return replace(self, a0=a0, a1=self.a1.untold())


def fit_front_end(
    runs: Sequence[tuple[Sequence[Stream], Clusters, StepTable]],
    cost: tuple[float, ...],
    budget: int | None,
    usual_us: Callable[[float], float] | None = None,
) -> FrontEnd:
    """In us and us a token; all 0 and undetermined if the data do not show them. `usual_us`: what most steps take
    beyond a cost."""
    idle = [point for streams, _, _ in runs for point in _idle(streams, cost, budget)]
    if usual_us is not None:
        idle = [(prompt, left - usual_us(cost[0] + cost[1] * prompt + cost[4])) for prompt, left in idle]
    busy = [_busy(streams, clusters, table) for streams, clusters, table in runs]
    if len(idle) >= LEAST_IDLE:
        return _beside_steps(_of_idle(idle), busy)
    bounds = [bound for run in busy for bound in run]
    if len(bounds) >= LEAST_BUSY:
        return _of_busy([(low, high) for low, high, _ in bounds])
    return FrontEnd(UNKNOWN, UNKNOWN, UNKNOWN, "none", len(idle) + len(bounds))


def _idle(streams: Sequence[Stream], cost: tuple[float, ...], budget: int | None) -> list[tuple[int, float]]:
    """(prompt tokens, TTFT less its steps) of each request that was alone from its sending to its first token."""
    b0, b1, _, _, b4 = cost
    points = []
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
        points.append((stream.prompt_tokens, first_us - stream.sent_us - steps * b0 - b1 * stream.fresh_tokens - b4))
    return points


def tell_a1(prompts: npt.NDArray[np.float64]) -> bool:
    """Whether prompts of these lengths differ enough to separate a0 and a1."""
    return float(prompts.max()) >= _SPREAD * float(prompts.min())


def _of_idle(points: list[tuple[int, float]]) -> FrontEnd:
    prompts, left = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    varied = tell_a1(prompts)
    # The robust fit weighs by the size of the target, so shift it: then the middle has a size, whatever its sign.
    shift = 1.0 + float(np.quantile(np.abs(left), 0.9))
    design = np.column_stack((np.ones_like(prompts), prompts)) if varied else np.ones((len(prompts), 1))
    solution = robust.fit(design, left + shift)
    slope = float(solution.x[1]) if varied else 0.0
    inliers = solution.weights > 0
    rest = left[inliers] - slope * prompts[inliers]
    a0 = max(0.0, float(np.average(rest, weights=solution.weights[inliers])))
    error = 2 * solution.scale / math.sqrt(len(rest))
    of_slope = error / max(float(np.std(prompts)), 1.0)
    return FrontEnd(
        Coefficient(a0, max(0.0, a0 - error), a0 + error, told=True),
        Coefficient(slope, max(0.0, slope - of_slope), slope + of_slope, told=varied),
        UNKNOWN,
        "idle",
        len(points),
    )


def _busy(streams: Sequence[Stream], clusters: Clusters, table: StepTable) -> list[tuple[float, float, int]]:
    """Bounds of a0 + a1 x the prompt, and the prompt, for each request whose first token came from a sure step that
    follows a sure step."""
    bounds = []
    for stream, places in zip(streams, clusters.of_chunk, strict=True):
        if not stream.sure:
            continue
        first = places[0]
        if table.sure[first] and table.sure[first - 1]:  # The first step is never sure.
            low, high = float(table.begin_us[first - 1]), float(table.begin_us[first])
            bounds.append((low - stream.sent_us, high - stream.sent_us, stream.prompt_tokens))
    return bounds


def _beside_steps(idle: FrontEnd, busy: Sequence[Sequence[tuple[float, float, int]]]) -> FrontEnd:
    """Divide the idle server's wait into a0 and w0 if requests to the busy server joined its steps sooner."""
    slope, whole = idle.a1.value, idle.a0
    runs = [[(low - slope * n, high - slope * n) for low, high, n in run] for run in busy if len(run) >= LEAST_BUSY]
    bounds = [bound for run in runs for bound in run]
    if not bounds:
        return idle
    allowed = _most_allow(bounds)
    requests = len(bounds) + idle.requests
    sooner = any(_share(run, allowed.middle) - _share(run, whole.value) > _DISAGREE for run in runs)
    if not sooner or allowed.high >= whole.value:
        # The idle server's wait beyond the lowest a0 that the busy requests allow may still be w0.
        awake = Coefficient(0.0, 0.0, max(0.0, whole.high - allowed.low), told=allowed.narrow)
        return replace(idle, w0=awake, requests=requests)
    a0 = Coefficient(allowed.middle, allowed.low, allowed.high, told=allowed.narrow)
    low, high = max(0.0, whole.low - allowed.high), whole.high - allowed.low
    w0 = Coefficient(whole.value - a0.value, low, high, told=allowed.narrow)
    return FrontEnd(a0, idle.a1, w0, "both", requests)


def _of_busy(bounds: Sequence[tuple[float, float]]) -> FrontEnd:
    """The fit if no request met an idle server. In a closed loop requests come right after a step: any a0 shorter than
    a step fits, so a0 is not determined."""
    allowed = _most_allow(bounds)
    known = allowed.narrow and _share(bounds, allowed.middle) > 0.5
    a0 = Coefficient(allowed.middle, allowed.low, allowed.high, told=known)
    return FrontEnd(a0, UNKNOWN, UNKNOWN, "busy", len(bounds))


@dataclass(frozen=True, slots=True)
class _Allowed:
    """The range of a0 that nearly as many bounds contain as any other value."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def narrow(self) -> bool:
        """Whether the range is narrow enough to be an estimate."""
        return self.high - self.low < self.middle / 2


def _share(bounds: Sequence[tuple[float, float]], at: float) -> float:
    """The share of the bounds that contain `at`."""
    return sum(low <= at <= high for low, high in bounds) / len(bounds)


def _most_allow(bounds: Sequence[tuple[float, float]]) -> _Allowed:
    """The a0 that most bounds contain, widened to its neighbours that nearly as many contain."""
    # a0 is at least 0; a bound that lies wholly below 0 is ignored.
    intervals = [(max(0.0, low), high) for low, high in bounds if high > 0]
    changes = sorted([(low, 1) for low, _ in intervals] + [(high, -1) for _, high in intervals])
    pieces: list[tuple[float, float, int]] = []
    count = 0
    for (at, change), (following, _) in pairwise(changes):
        count += change
        if following > at:
            pieces.append((at, following, count))
    if not pieces:
        return _Allowed(0.0, 0.0)
    best = max(range(len(pieces)), key=lambda place: pieces[place][2])
    most = pieces[best][2]
    # Nearly as many: within two standard deviations of the number that do not contain it by chance.
    enough = most - 2 * math.sqrt(max(1, len(intervals) - most))
    first = last = best
    while first > 0 and pieces[first - 1][2] >= enough:
        first -= 1
    while last + 1 < len(pieces) and pieces[last + 1][2] >= enough:
        last += 1
    return _Allowed(pieces[first][0], pieces[last][1])
