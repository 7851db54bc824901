"""Runs over identical replicas in virtual time: how often the tests of bench/statistics/skew.py report a difference."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.statistics import skew
from bench.statistics.multiple import holm
from bench.verdict.limits import Limits
from bench.verdict.replicas import CHANCE

Choice = Literal["in turn", "at random", "least in flight"]
SLOTS = 4
"""Concurrent requests per replica; others wait in its queue."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas under a load: their utilisation (over 1: an overload), and the requests of each."""

    replicas: int
    requests: int
    load: float
    choice: Choice

    def __str__(self) -> str:
        return f"{self.replicas} replicas, {self.requests} requests each, load {self.load:g}, {self.choice}"


_EACH: tuple[tuple[int, int, float, Choice], ...] = (
    (2, 300, 0.5, "in turn"),
    (3, 300, 0.7, "at random"),
    (20, 100, 0.7, "in turn"),
    (3, 300, 0.9, "least in flight"),
    (2, 100, 0.9, "in turn"),
    (8, 100, 0.9, "at random"),
    (8, 300, 0.9, "at random"),
    (3, 300, 0.97, "at random"),
    (8, 100, 1.05, "in turn"),
    (8, 300, 1.3, "at random"),
)
FLEETS = [Fleet(*each) for each in _EACH]


@dataclass(frozen=True, slots=True)
class Called:
    """The differences reported in one run."""

    judged: bool
    """Whether latencies could be compared at all."""
    slower: bool
    share: bool
    errors: bool
    found: bool
    """Whether the first replica is called slower once all its latencies are 1.3 times as long."""


def one_run(fleet: Fleet, seed: int, limits: Limits | None = None) -> Called:
    """One run of a fleet, and the reported differences."""
    limits = Limits() if limits is None else limits
    rng = np.random.default_rng([seed, fleet.replicas, fleet.requests, round(fleet.load * 100), len(fleet.choice)])
    sent, ms, which = _served(fleet, rng)
    series = [(sent[which == i], ms[which == i]) for i in range(fleet.replicas)]
    rows = skew.slower(series)
    faster = [(series[0][0], 1.3 * series[0][1]), *series[1:]]
    counts = rng.multinomial(len(sent), [1 / fleet.replicas] * fleet.replicas)
    # Failures come singly, and in an outage of all replicas.
    outage = rng.uniform(0, sent[-1])
    failed = (rng.random(len(sent)) < 0.02) | (abs(sent - outage) < 0.01 * sent[-1])
    return Called(
        judged=any(row is not None for row in rows),
        slower=any(_is_slower(rows, limits)),
        share=_has_more(counts, limits),
        errors=_fails(failed, which, fleet.replicas, limits),
        found=_is_slower(skew.slower(faster), limits)[0],
    )


def _served(fleet: Fleet, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When each request was sent, how long it took, and which replica served it."""
    n = fleet.replicas * fleet.requests
    sent = np.cumsum(rng.exponential(1 / (fleet.load * fleet.replicas * SLOTS), n))
    service = rng.lognormal(-0.125, 0.5, n)
    free = [[0.0] * SLOTS for _ in range(fleet.replicas)]
    took, which = np.empty(n), np.empty(n, dtype=int)
    for k, at in enumerate(sent):
        if fleet.choice == "in turn":
            i = k % fleet.replicas
        elif fleet.choice == "at random":
            i = int(rng.integers(fleet.replicas))
        else:
            i = min(range(fleet.replicas), key=lambda r: (sum(until > at for until in free[r]), free[r][0]))
        begun = max(heapq.heappop(free[i]), at)
        heapq.heappush(free[i], begun + service[k])
        took[k], which[k] = 100 * (begun + service[k] - at), i
    return sent, took, which


def _is_slower(rows: list[skew.Slower | None], limits: Limits) -> list[bool]:
    ps = holm([1.0 if row is None else row.p for row in rows])
    margin = limits.replica_slower.suspect
    return [row is not None and p < CHANCE and row.change > margin for row, p in zip(rows, ps, strict=True)]


def _has_more(counts: np.ndarray, limits: Limits) -> bool:
    tails = holm([skew.binomial_tail(int(count), int(counts.sum()), 1 / len(counts)) for count in counts])
    overall = skew.chi_square(counts.tolist())
    over = counts / counts.mean() - 1 > limits.replica_share.suspect
    return any(max(overall, tail) < CHANCE and far for tail, far in zip(tails, over, strict=True))


def _fails(failed: np.ndarray, which: np.ndarray, replicas: int, limits: Limits) -> bool:
    bad, tried = np.bincount(which, failed, replicas).astype(int), np.bincount(which, minlength=replicas)
    ps = holm(
        [skew.fisher(int(b), int(t), int(bad.sum() - b), int(tried.sum() - t)) for b, t in zip(bad, tried, strict=True)]
    )
    others = (bad.sum() - bad) / (tried.sum() - tried)
    over = bad / tried - others > limits.replica_errors.suspect
    return any(p < CHANCE and far for p, far in zip(ps, over, strict=True))
