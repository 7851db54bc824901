"""Searches in virtual time: `bench.load_search.decisions` over the batching model, with only the rules of the driver."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.goals import Goal
from bench.load_search.visits import EARLY_END_FROM, Result, Visit, pause_s
from bench.statistics.autocorrelation import tail_act
from bench.statistics.capacity import mean_of
from bench.statistics.keeps_up import in_flight
from tests.support.batching_model import Array, Served, Server, closed_loop, open_loop, poisson


@dataclass(frozen=True, slots=True)
class Limit:
    """An objective with what it limits: `value` of each request, in ms."""

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
    """A request is good where it keeps both limits: the larger of its two values, each over its limit, is at most 1."""

    def worst(served: Served) -> Array:
        return np.maximum(served.ttft_ms / ttft_ms, served.tpot_ms / tpot_ms)

    return Limit(Goal(f"goodput>={share:g}", round(1 - share, 6)), worst, 1.0)


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended."""

    search: Search
    ending: Ending
    minutes: float


def run_search(server: Server, limits: Sequence[Limit], settings: Settings, seed: int) -> Found:
    """A whole search."""
    search = Search(settings)
    while not isinstance(step := search.next(), Ending):
        search.add(make_visit(server, limits, search, step, seed))
    return Found(search, step, search.seconds / 60)


def make_visit(server: Server, limits: Sequence[Limit], search: Search, visit: Visit, seed: int) -> Result:
    """Send the load of a visit to an idle server, and say what it brought back."""
    rng = np.random.default_rng([seed, visit.n])
    total_s = visit.settle_s + visit.measure_s
    if search.settings.load_kind == "rate":
        arrivals = poisson(visit.load, total_s, rng)
        state = rng.bit_generator.state
        served = open_loop(server, arrivals, rng)
        cut_s = _early_end(search, limits, served, visit.settle_s, total_s)
        if cut_s < total_s:
            # What would have been sent later was never sent.
            rng.bit_generator.state = state
            served = open_loop(server, [at for at in arrivals if at < cut_s], rng)
    else:
        served = closed_loop(server, int(visit.load), total_s, rng, ramp_s=min(2.0, visit.settle_s / 2))
        cut_s = total_s
    inside = served.between(visit.settle_s, cut_s)
    violations, acts, means = {}, {}, {}
    n = len(inside.sent_s)
    for limit in limits:
        values = limit.value(inside)
        if limit.goal.allowed is None:
            mean = mean_of(visit.load, values, limit.limit_ms)
            if mean is not None:
                means[limit.goal.text] = mean
            continue
        violations[limit.goal.text] = int((values > limit.limit_ms).sum())
        if n >= 20:
            acts[limit.goal.text] = tail_act(values)
    flight = in_flight(served.sent_s, served.last_s, visit.settle_s, cut_s)
    drained_s = max(cut_s, float(served.last_s.max(initial=0.0)))
    judged = search.settings.load_kind == "rate" and cut_s == total_s
    kept_up = search.kept_up(visit, flight, drained_s - cut_s) if judged else None
    p90 = float(np.quantile(inside.e2el_ms, 0.9)) / 1e3 if n else None
    return Result(
        visit.n, visit.phase, visit.load, "VALID", visit.settle_s, cut_s - visit.settle_s,
        drained_s + pause_s(search.settings.budget_s), n, violations, act=acts, means=means, kept_up=kept_up,
        e2el_p90_s=p90,
    )  # fmt: skip


def _early_end(search: Search, limits: Sequence[Limit], served: Served, start_s: float, end_s: float) -> float:
    """When so many requests had broken an objective that the visit ends early; its regular end where that never was."""
    inside = served.between(start_s, end_s)
    first = end_s
    for limit in limits:
        if limit.goal.allowed is None:
            continue
        violates = limit.value(inside) > limit.limit_ms
        known_s = inside.first_s if limit.waits else inside.last_s
        if limit.waits:
            known_s = np.where(violates, inside.sent_s + limit.limit_ms / 1e3, known_s)
        order = np.argsort(known_s, kind="stable")
        broken = np.cumsum(violates[order])
        for place in range(EARLY_END_FROM - 1, len(order), 10):
            if search.hopeless(limit.goal, place + 1, int(broken[place])):
                first = min(first, max(start_s, float(known_s[order[place]])))
                break
    return first


@dataclass(frozen=True, slots=True)
class Grade:
    """Many searches against the true capacity."""

    searches: int
    rms: float
    """Root of the mean squared relative error."""
    too_much: float
    """Share of the searches whose estimate claims over 2% too much: `held` above the truth by more than that."""
    coverage: float
    minutes: float
    width: float


def grade(found: Sequence[Found], truth: float) -> Grade:
    known = [entry.search.known() for entry in found]
    answers = [answer for answer in known if answer is not None]
    errors = [answer.estimate / truth - 1 for answer in answers]
    claims = [answer.held is not None and answer.held[0] > 1.02 * truth for answer in answers]
    covers = [answer.low <= truth <= answer.high for answer in answers]
    return Grade(
        len(answers), math.sqrt(float(np.mean(np.square(errors)))), float(np.mean(claims)), float(np.mean(covers)),
        float(np.mean([entry.minutes for entry in found])),
        float(np.mean([answer.high / answer.low - 1 for answer in answers])),
    )  # fmt: skip
