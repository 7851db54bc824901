"""Searches in virtual time: `bench.load_search.decisions` over the batching model, with only the rules of the driver."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import Result, Visit, first_p90_s, pause_s
from bench.statistics.autocorrelation import tail_act
from bench.statistics.capacity import mean_of
from bench.statistics.keeps_up import growth, in_flight
from tests.support.batching_model import Array, Served, Server, closed_loop, open_loop, poisson


@dataclass(frozen=True, slots=True)
class Limit:
    """An objective, and the value that it limits: `value` of each request, in ms."""

    goal: Goal
    value: Callable[[Served], Array]
    limit_ms: float
    waits: bool = False
    """Whether a request violates it as soon as it has waited that long (TTFT); else at its end."""


def ttft(quantile: str, limit_ms: float, allowed: float | None) -> Limit:
    return Limit(Goal(f"ttft:{quantile}<{limit_ms:g}ms", allowed), lambda served: served.ttft_ms, limit_ms, True)


def tpot(quantile: str, limit_ms: float, allowed: float | None) -> Limit:
    return Limit(Goal(f"tpot:{quantile}<{limit_ms:g}ms", allowed), lambda served: served.tpot_ms, limit_ms)


def goodput(ttft_ms: float, tpot_ms: float, share: float) -> Limit:
    """A request is good if it keeps both limits: the larger of its two values, each divided by its limit, is at most 1."""

    def worst(served: Served) -> Array:
        return np.maximum(served.ttft_ms / ttft_ms, served.tpot_ms / tpot_ms)

    return Limit(Goal(f"goodput>={share:g}", round(1 - share, 6)), worst, 1.0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """The trouble of a server: a share of its requests fails, at any load or above one; or it stops for a while at
    intervals; or it gets slower over time, by this factor over this many seconds of the search."""

    fails: float = 0.0
    fails_above: float = 0.0
    stall_s: float = 0.0
    stall_every_s: float = 20.0
    slower: float = 1.0
    slower_over_s: float = 900.0

    def server(self, server: Server, elapsed_s: float) -> Server:
        """The server at this time of the search."""
        if self.slower == 1.0:
            return server
        factor = self.slower ** min(1.0, elapsed_s / self.slower_over_s)
        cost = server.cost
        return replace(server, cost=replace(cost, b0=cost.b0 * factor, b1=cost.b1 * factor, b2=cost.b2 * factor))

    def serve(self, server: Server, arrivals: Sequence[float], rng: np.random.Generator) -> Served:
        """An open loop through the stalls: the server works on a clock that stops in each of them."""
        if not self.stall_s:
            return open_loop(server, arrivals, rng)
        works_s = self.stall_every_s - self.stall_s
        phase_s = float(rng.uniform(0, self.stall_every_s))
        whole, within = np.divmod(np.asarray(arrivals) + phase_s, self.stall_every_s)
        worked = open_loop(server, (whole * works_s + np.minimum(within, works_s)).tolist(), rng)

        def on_the_wall(at_s: Array) -> Array:
            return np.asarray(at_s + np.floor(at_s / works_s) * self.stall_s - phase_s)

        return replace(
            worked, sent_s=np.asarray(arrivals), first_s=on_the_wall(worked.first_s), last_s=on_the_wall(worked.last_s)
        )

    def failed(self, n: int, load: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Which of `n` requests fail at a load."""
        return rng.random(n) < self.fails if self.fails and load > self.fails_above else np.zeros(n, dtype=np.bool_)


NO_TROUBLE = Trouble()


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    search: Search
    ending: Ending
    minutes: float


def run_search(
    server: Server, limits: Sequence[Limit], settings: Settings, seed: int, trouble: Trouble = NO_TROUBLE
) -> Found:
    """Run a whole search."""
    search = Search(settings)
    while not isinstance(step := search.next(), Ending):
        search.add(make_visit(trouble.server(server, search.seconds), limits, search, step, seed, trouble))
    return Found(search, step, search.seconds / 60)


def make_visit(
    server: Server, limits: Sequence[Limit], search: Search, visit: Visit, seed: int, trouble: Trouble = NO_TROUBLE
) -> Result:
    """Send a visit's load to an idle server, and return the result."""
    rng = np.random.default_rng([seed, visit.n])
    total_s = visit.settle_s + visit.measure_s
    if search.settings.load_kind == "rate":
        served = trouble.serve(server, poisson(visit.load, total_s, rng), rng)
    else:
        served = closed_loop(server, int(visit.load), total_s, rng, ramp_s=min(2.0, visit.settle_s / 2))
    inside = served.between(visit.settle_s, total_s)
    violations, acts, means = {}, {}, {}
    n = len(inside.sent_s)
    failed = trouble.failed(n, visit.load, rng)
    for limit in limits:
        values = limit.value(inside)
        if limit.goal.allowed is None:
            mean = mean_of(visit.load, values, limit.limit_ms)
            if mean is not None:
                means[limit.goal.text] = mean
            continue
        values = np.where(failed, 1e12, values)
        violations[limit.goal.text] = int((values > limit.limit_ms).sum())
        if n >= 20:
            acts[limit.goal.text] = tail_act(values)
    flight = in_flight(served.sent_s, served.last_s, visit.settle_s, total_s)
    drained_s = max(total_s, float(served.last_s.max(initial=0.0)))
    rate = search.settings.load_kind == "rate"
    grown = growth(served.sent_s, served.last_s - served.sent_s)
    kept_up = search.kept_up(visit, flight, drained_s - total_s, grown) if rate else None
    p90 = float(np.quantile(inside.e2el_ms, 0.9)) / 1e3 if n else None
    return Result(
        visit.n, visit.phase, visit.load, "VALID", visit.settle_s, visit.measure_s,
        drained_s + pause_s(search.settings.budget_s), n, violations, act=acts, means=means, kept_up=kept_up,
        e2el_p90_s=p90, e2el_first_s=first_p90_s(served.sent_s, served.last_s - served.sent_s),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grade:
    """Many searches compared with the true capacity."""

    searches: int
    rms: float
    """Root mean square of the relative error."""
    too_much: float
    """The share of searches whose estimate claims over 2% too much: `held` exceeds the truth by more than that."""
    coverage: float
    minutes: float
    width: float


def grade(found: Sequence[Found], truth: float) -> Grade:
    known = [conclude(entry.search).known for entry in found]
    answers = [answer for answer in known if answer is not None]
    errors = [answer.estimate / truth - 1 for answer in answers]
    claims = [answer.held is not None and answer.held[0] > 1.02 * truth for answer in answers]
    covers = [answer.low <= truth <= answer.high for answer in answers]
    return Grade(
        len(answers), math.sqrt(float(np.mean(np.square(errors)))), float(np.mean(claims)), float(np.mean(covers)),
        float(np.mean([entry.minutes for entry in found])),
        float(np.mean([answer.high / answer.low - 1 for answer in answers])),
    )  # fmt: skip
