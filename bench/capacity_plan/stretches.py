"""Simulates a stretch of an hour in virtual time: the latencies of its requests, and whether the objectives hold.

The day is not simulated from end to end. Each hour that matters is simulated at its rate, for long enough to get a
thousand requests after the queue has settled. A server that cannot keep up over an hour may still look good in a
stretch, so a rate above the saturated throughput of the replicas always breaks the hour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import cast

import numpy as np
import numpy.typing as npt

from bench.capacity_plan.fitted import FittedServer
from bench.capacity_plan.simulators import Simulated, Simulators
from bench.capacity_plan.traffic import Hour, Requests, Traffic
from bench.errors import UsageError
from bench.metrics.objectives import Objective

Array = npt.NDArray[np.float64]

LATENCIES = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2el": "e2el_ms"}
"""The metrics of a simulation, by their names in objectives."""
_REQUESTS, _LEAST_S, _MOST_S = 1_000, 20.0, 600.0
_SETTLE_E2ELS = 2.5
_ALONE, _SATURATED = 20, 3
_MOST_USERS = 384
_US_PER_MS, _US_PER_S = 1e3, 1e6


def supported(objectives: Sequence[Objective]) -> None:
    """Raises UsageError for each objective that a simulation cannot judge."""
    problems = [
        f"--slo {objective.text}: plan knows {', '.join(LATENCIES)} and goodput"
        for objective in objectives
        if (objective.metric not in LATENCIES and objective.metric != "goodput") or objective.part is not None
    ]
    if problems:
        raise UsageError(problems)


@dataclass(frozen=True, slots=True)
class Question:
    """A stretch of an hour with a number of replicas, for one draw. `changes`: [us, replicas] during it. `padded`: for
    a server that pads batches larger than the fitted ones."""

    hour: Hour
    replicas: int
    draw: int
    times: float = 1.0
    changes: tuple[tuple[float, int], ...] = ()
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of a stretch. `values`: per objective; infinite if a request never ended."""

    values: tuple[float, ...]
    holds: tuple[bool, ...]
    broken: float
    """The share of requests that break a limit on a latency."""
    in_flight: float
    """The most requests and tokens that one replica had at once."""
    tokens: float
    mean_in_flight: float
    """On one replica."""
    overloaded: bool
    prompt: tuple[float, float] = (0.0, 0.0)
    """The lengths of prompts (p99 and the longest, in tokens), and of prompts with their replies."""
    context: tuple[float, float] = (0.0, 0.0)

    @property
    def good(self) -> bool:
        """Whether all objectives hold, and will continue to hold."""
        return all(self.holds) and not self.overloaded


@dataclass(slots=True)
class Stretches:
    """Answers questions, each once."""

    simulators: Simulators
    server: FittedServer
    traffic: Traffic
    objectives: Sequence[Objective]
    router: str
    settle_s: float = 0.0
    saturated: float = math.inf
    """The most requests per second that one replica serves."""
    broken_alone: tuple[str, ...] = ()
    """Objectives that requests break even if each has a replica for itself: no number of replicas holds them."""
    asked: dict[Question, Answer] = field(default_factory=dict)

    def prepare(self) -> None:
        """Measure a request alone, and one replica with more users than it can serve at once."""
        peak = max(self.traffic.hours, key=lambda hour: hour.rate)
        limits = self.server.profile.limits
        seqs = None if limits is None else limits.max_num_seqs.value
        users = _MOST_USERS if seqs is None else min(_MOST_USERS, 2 * seqs)
        many = _SATURATED * users
        load = self.traffic.requests(peak, max(_LEAST_S, many / peak.rate), 0)
        job = self._job(load, 0)
        alone, full = self.simulators.answers(
            [_closed(job, 1, min(_ALONE, len(load.at_us))), _closed(job, users, many)]
        )
        ttft, tpot, e2el = _latencies(alone, load)
        middle = {"ttft": np.median(ttft), "tpot": np.median(tpot), "e2el": np.median(e2el)}
        # If the median request breaks an objective, every quantile from the median up breaks it.
        self.broken_alone = tuple(
            objective.text
            for objective in self.objectives
            if objective.metric in middle
            and objective.stat not in ("mean", "min")
            and not objective.holds(float(middle[objective.metric]))
        )
        self.settle_s = _SETTLE_E2ELS * float(np.quantile(e2el, 0.9)) * _US_PER_MS / _US_PER_S
        ends = np.sort(np.array([at for at in full.last_us if at is not None]))
        first, last = ends[len(ends) // 4], ends[3 * len(ends) // 4]
        self.saturated = float((len(ends) // 2) / (last - first) * _US_PER_S) if last > first else math.inf

    def answers(self, questions: Iterable[Question]) -> None:
        """Answer questions in parallel."""
        fresh = [question for question in dict.fromkeys(questions) if question not in self.asked]
        loads = [self._load(question) for question in fresh]
        jobs = [
            self._job(load, question.draw, padded=question.padded)
            | {"replicas": question.replicas, "changes": question.changes}
            for question, load in zip(fresh, loads, strict=True)
        ]
        for question, load, simulated in zip(fresh, loads, self.simulators.answers(jobs), strict=True):
            self.asked[question] = self._answer(question, load, simulated)

    def answer(self, question: Question) -> Answer:
        self.answers([question])
        return self.asked[question]

    def strain(self, answer: Answer) -> float:
        """How close an answer is to breaking an objective: 1 at its limit."""
        strains = [
            value / objective.limit if objective.metric in LATENCIES else (1 - value) / max(1e-9, 1 - objective.limit)
            for value, objective in zip(answer.values, self.objectives, strict=True)
        ]
        return math.inf if answer.overloaded else max(strains)

    def seconds(self, hour: Hour) -> float:
        """The length of a stretch of an hour, without settling."""
        return min(
            max(_LEAST_S, _REQUESTS / hour.rate, 2 * self.settle_s), max(_MOST_S, 2 * self.settle_s), hour.duration_s
        )

    def _load(self, question: Question) -> Requests:
        seconds = self.settle_s + self.seconds(question.hour)
        seconds = max([seconds, *((at_us / _US_PER_S) + self.settle_s + _LEAST_S for at_us, _ in question.changes)])
        return self.traffic.requests(question.hour, seconds, question.draw, question.times)

    def _job(self, load: Requests, draw: int, *, padded: bool = False) -> dict[str, object]:
        file = self.server.padded if padded else self.server.files[draw]
        return {
            "settings": {"profile": str(file), "seed": draw},
            "at_us": load.at_us,
            "input_tokens": load.input_tokens,
            "output_tokens": load.output_tokens,
            "prefix": load.prefix,
            "router": self.router,
        }

    def _answer(self, question: Question, load: Requests, simulated: Simulated) -> Answer:
        ttft, tpot, e2el = _latencies(simulated, load)
        at_us = np.array(load.at_us)
        settled = at_us >= self.settle_s * _US_PER_S
        if not settled.any():
            settled = np.ones(len(at_us), dtype=bool)
        of = {"ttft": ttft[settled], "tpot": tpot[settled & (np.array(load.output_tokens) > 1)], "e2el": e2el[settled]}
        broken = np.zeros(int(settled.sum()), dtype=bool)
        everything = {"ttft": ttft, "tpot": tpot, "e2el": e2el}
        limits = [objective for objective in self.objectives if objective.metric in LATENCIES]
        limits += [limit for objective in self.objectives for limit in objective.limits]
        for limit in limits:
            broken |= np.array([not limit.holds(value) for value in everything[limit.metric][settled]], dtype=bool)
        values = tuple(
            1 - float(broken.mean())
            if objective.metric == "goodput"
            else _statistic(of[objective.metric], objective.stat)
            for objective in self.objectives
        )
        holds = tuple(objective.holds(value) for objective, value in zip(self.objectives, values, strict=True))
        most, tokens, mean = _in_flight(simulated, load, question.replicas)
        overloaded = question.hour.rate * question.times > self.saturated * question.replicas
        prompts, replies = np.array(load.input_tokens), np.array(load.output_tokens)
        prompt, context = (
            (float(np.quantile(lengths, 0.99)), float(lengths.max())) for lengths in (prompts, prompts + replies)
        )
        return Answer(values, holds, float(broken.mean()), most, tokens, mean, overloaded, prompt, context)


def _closed(job: dict[str, object], users: int, most: int) -> dict[str, object]:
    """The same requests, again and again if they are few, from this many users, limited to `most` requests."""
    names = ("input_tokens", "output_tokens", "prefix")
    lengths = {name: [*islice(cycle(cast("Sequence[object]", job[name])), most)] for name in names}
    return job | lengths | {"users": users, "at_us": []}


def _latencies(simulated: Simulated, load: Requests) -> tuple[Array, Array, Array]:
    """TTFT, TPOT and E2EL in ms of each request; infinite if it did not end. TPOT is 0 for a single token."""
    sent, first, last = (
        np.array([math.inf if at is None else at for at in of])
        for of in (simulated.sent_us, simulated.first_us, simulated.last_us)
    )
    tokens = np.array(load.output_tokens[: len(sent)], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        ttft, e2el = (np.where(np.isfinite(at), at - sent, math.inf) for at in (first, last))
        tpot = np.where(np.isfinite(last), (last - first) / np.maximum(tokens - 1, 1), math.inf)
    return ttft / _US_PER_MS, tpot / _US_PER_MS, e2el / _US_PER_MS


def _statistic(values: Array, stat: str | None) -> float:
    """A statistic of an objective; 0 without values, because nothing breaks it."""
    if not len(values):
        return 0.0
    if stat in ("mean", "min", "max"):
        return float(getattr(np, stat)(values))
    digits = (stat or "p99").removeprefix("p")
    return float(np.quantile(values, float(f"0.{digits}"), method="higher"))


def _in_flight(simulated: Simulated, load: Requests, replicas: int) -> tuple[float, float, float]:
    """The most requests and the most tokens in flight on one replica, and the mean number of requests."""
    most = tokens = total = 0.0
    end = max(at for at in (*simulated.sent_us, *simulated.last_us) if at is not None)
    rows = zip(
        simulated.replica, simulated.sent_us, simulated.last_us, load.input_tokens, load.output_tokens, strict=True
    )
    by_replica: dict[int, list[tuple[float, int, int]]] = {}
    for replica, sent, last, prompt, reply in rows:
        if replica is None or sent is None:
            continue
        gone = end if last is None else last
        total += gone - sent
        by_replica.setdefault(replica, []).extend([(sent, 1, prompt + reply), (gone, -1, -prompt - reply)])
    for changes in by_replica.values():
        steps = np.cumsum(np.array([(count, size) for _, count, size in sorted(changes)]), axis=0)
        most, tokens = max(most, float(steps[:, 0].max())), max(tokens, float(steps[:, 1].max()))
    return most, tokens, total / end / replicas if end else 0.0
