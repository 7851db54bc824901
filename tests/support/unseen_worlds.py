"""Servers whose steps have costs that the fit's model lacks: whether a confident plan then holds on them.

Each is the mock's engine with a cost of another shape, or with a feature that a client does not see. It is fitted from
loads of 1, 4 and 16 users and one rate, and replayed as `bench fit` does, with a run of 8 users held out. The plan gets
a peak that takes about three replicas, and the server then gets that peak with the planned number of replicas.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from bench.capacity_plan.fitted import drawn
from bench.capacity_plan.plan import Asked, planned
from bench.capacity_plan.simulators import Simulators
from bench.capacity_plan.stretches import Stretches
from bench.capacity_plan.traffic import Hour, Requests
from bench.commands.fit_replay import is_apart
from bench.fit.batching import fit_batching
from bench.fit.profile import batching_profile
from bench.fit.replayed import QUANTILES, warnings_of
from bench.fit.streams import Stream
from bench.metrics.objectives import parse
from bench.results.base import to_plain
from bench.results.plan import PlanContent
from bench.results.profile import Profile, Replay, ReplayedNumber
from bench.rng import stream
from bench.statistics.autocorrelation import Floats, dependence
from bench.statistics.intervals import Interval, quantile_interval
from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.plans.plan import Plan
from mockserver.plans.speculation import Speculation
from mockserver.step_cost import StepCost
from tests.support.changed import replace
from tests.support.made_runs_of_fit import made_runs
from tests.support.planned_server import InProcess

Shape = Callable[[float, int, int, int, int], float]
"""The us of a step: from its linear cost, prefill, decodes, context and prompts."""


@dataclass(frozen=True)
class World:
    """A server. `shape` makes a cost shape, which may have state."""

    b0: float = 8_000.0
    b1: float = 20.0
    b2: float = 250.0
    b3: float = 0.0
    a0: float = 3_000.0
    seqs: int = 256
    budget: int = 8_192
    kv_blocks: int = 65_536
    drafts: int = 0
    acceptance: float = 0.0
    shape: Callable[[], Shape] = lambda: lambda us, prefill, decodes, context, prompts: us
    prompts: tuple[int, int] = (40, 400)
    outputs: tuple[int, int] = (16, 96)


class _Cost(StepCost):
    """A cost of another shape."""

    __slots__ = ("shape",)
    shape: Shape

    def step_ns(self, prefill_tokens: int, decode_tokens: int, context_tokens: int, prompts: int) -> int:
        linear_us = super().step_ns(prefill_tokens, decode_tokens, context_tokens, prompts) / 1e3
        return max(1, round(1e3 * self.shape(linear_us, prefill_tokens, decode_tokens, context_tokens, prompts)))


def _engine(world: World) -> BatchingEngine:
    cost = _Cost(
        world.b0, world.b1, world.b2, world.b3, a0=world.a0, max_num_seqs=world.seqs,
        max_num_batched_tokens=world.budget, kv_blocks=world.kv_blocks,
    )  # fmt: skip
    object.__setattr__(cost, "shape", world.shape())
    return BatchingEngine(cost, prefix_caching=False, drafts=world.drafts)


def _powers_of_two() -> Shape:
    def shape(us: float, prefill: int, decodes: int, context: int, prompts: int) -> float:
        return us + 250.0 * (float(2 ** math.ceil(math.log2(max(decodes, 1)))) - decodes)

    return shape


def _cliff(at: int) -> Callable[[], Shape]:
    return lambda: lambda us, prefill, decodes, context, prompts: us * (1.0 if decodes < at else 2.2)


def _quadratic_context() -> Shape:
    return lambda us, prefill, decodes, context, prompts: us + 0.00008 * context * context / max(decodes, 1)


def _quadratic_prompt() -> Shape:
    return lambda us, prefill, decodes, context, prompts: us + 0.05 * prefill * prefill / max(prompts, 1)


def _own_steps() -> Shape:
    """Prompts are computed in separate steps, before the decodes."""
    return lambda us, prefill, decodes, context, prompts: us + (8_000 if prefill and decodes else 0)


def _warms_up(factor: float, seconds: float) -> Callable[[], Shape]:
    """Steps take `factor` times as long at first. Time is the sum of the steps."""

    def begin() -> Shape:
        busy_us = 0.0

        def shape(us: float, prefill: int, decodes: int, context: int, prompts: int) -> float:
            nonlocal busy_us
            took_us = us * (1 + (factor - 1) * max(0.0, 1 - busy_us / 1e6 / seconds))
            busy_us += took_us
            return took_us

        return shape

    return begin


_SERVERS = count()
"""Each has its own pauses."""


def _pauses(every_us: float, lasts_us: float) -> Callable[[], Shape]:
    def begin() -> Shape:
        chance = random.Random(next(_SERVERS))
        left = chance.expovariate(1 / every_us)

        def shape(us: float, prefill: int, decodes: int, context: int, prompts: int) -> float:
            nonlocal left
            left -= us
            if left > 0:
                return us
            left = chance.expovariate(1 / every_us)
            return us + lasts_us

        return shape

    return begin


WORLDS: dict[str, World] = {
    "linear": World(),
    "context": World(b3=0.25),
    "quadratic context": World(shape=_quadratic_context, prompts=(200, 3_000)),
    "quadratic prompt": World(shape=_quadratic_prompt),
    "powers of two": World(shape=_powers_of_two),
    "cliff at 17": World(shape=_cliff(17)),
    "cliff at 25": World(shape=_cliff(25)),
    "contexts alone": World(b0=500.0, b2=0.0, b3=4.0),
    "warms up for 2 min": World(shape=_warms_up(1.5, 120.0)),
    "prompts in steps of their own": World(shape=_own_steps),
    "2 s pause a minute": World(shape=_pauses(60e6, 2e6)),
    "0.5 s pause each 15 s": World(shape=_pauses(15e6, 0.5e6)),
    "0.3 s pause each 40 s": World(shape=_pauses(40e6, 0.3e6)),
    "drafts": World(drafts=3, acceptance=0.6),
    "drafts, 12 sequences": World(drafts=3, acceptance=0.6, seqs=12),
    "small chunks": World(budget=128, prompts=(40, 900)),
    "few KV blocks": World(kv_blocks=180, prompts=(100, 300), outputs=(64, 256)),
    "KV blocks for 20": World(kv_blocks=420, prompts=(100, 300), outputs=(64, 256)),
    "20 sequences": World(seqs=20),
}  # fmt: skip


@dataclass
class Load:
    """Requests: when they are sent, and how long they are."""

    at_us: list[float] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def made_load(world: World, many: int, seed: int, rate: float | None = None) -> Load:
    """Requests with the lengths of a world, as Poisson arrivals; all at once without a rate."""
    chance = random.Random(seed)
    load, at = Load(), 0.0
    for _ in range(many):
        at += 0.0 if rate is None else chance.expovariate(rate) * 1e6
        load.at_us.append(at)
        load.inputs.append(chance.randint(*world.prompts))
        load.outputs.append(chance.randint(*world.outputs))
    return load


def _request(world: World, load: Load, number: int, at_us: float) -> EngineRequest:
    steps: tuple[int, ...] = ()
    if world.drafts:
        steps = Speculation(world.drafts, world.acceptance).steps(load.outputs[number], random.Random(number))
    plan = Plan(ttft_ns=0, gaps_ns=(), output_tokens=load.outputs[number], step_tokens=steps)
    return EngineRequest(round(at_us * 1e3), plan, load.inputs[number])


def served(
    world: World,
    load: Load,
    *,
    users: int | None = None,
    until_us: float = math.inf,
    replicas: int = 1,
    seed: int = 0,
) -> list[Stream]:
    """What clients see of the server behind a round-robin router. With `users`, each sends the next request after a
    reply."""
    chance = random.Random(seed)
    engines = [_engine(world) for _ in range(replicas)]
    coming = [*zip(load.at_us, range(len(load.inputs)), strict=True)]
    if users is not None:
        coming = [(1e3 * user, user) for user in range(users)]
    heapq.heapify(coming)
    following = len(coming)
    sent: dict[int, float] = {}
    chunks: dict[int, list[tuple[float, int]]] = {}
    left: dict[int, int] = {}
    while True:
        due = [(ns, number) for number, engine in enumerate(engines) if (ns := engine.next_ns()) is not None]
        first = min(due, default=None)
        if coming and (first is None or coming[0][0] * 1e3 <= first[0]):
            at, number = heapq.heappop(coming)
            if at > until_us:
                continue
            engines[len(sent) % replicas].admit(number, _request(world, load, number, at))
            sent[number], chunks[number], left[number] = at, [], load.outputs[number]
        elif first is not None:
            now_ns, replica = first
            for number, tokens in engines[replica].step(now_ns):
                chunks[number].append((now_ns / 1e3 + abs(chance.gauss(0, 30.0)), tokens))
                left[number] -= tokens
                if left[number] <= 0:
                    engines[replica].release(number)
                    if users is not None and following < len(load.inputs):
                        heapq.heappush(coming, (now_ns / 1e3 + 150.0, following))
                        following += 1
        else:
            break
    return [
        Stream(
            at, chunks[number][-1][0], load.inputs[number], 0,
            tuple(stamp for stamp, _ in chunks[number]), tuple(tokens for _, tokens in chunks[number]), sure=True,
        )
        for number, at in sorted(sent.items(), key=lambda row: row[1])
    ]  # fmt: skip


Latencies = Mapping[str, Floats]
"""TTFT and TPOT in ms."""


def _latencies(rows: Sequence[tuple[float, float, float, int]]) -> Latencies:
    """Latencies of requests in the order of sending, without the first tenth. A row: sent, first and last token (us),
    tokens."""
    late = rows[len(rows) // 10 :]
    return {
        "ttft_ms": np.array([first - sent for sent, first, _, _ in late]) / 1e3,
        "tpot_ms": np.array([(last - first) / (tokens - 1) for _, first, last, tokens in late if tokens > 1]) / 1e3,
    }


def seen_by(streams: Sequence[Stream]) -> Latencies:
    return _latencies([(one.sent_us, one.arrivals_us[0], one.arrivals_us[-1], one.generated) for one in streams])


def of_the_mock(profile: Path, load: Load, users: int | None, many: int) -> Latencies:
    """The results of a mock with the profile for the first requests of a load."""
    job: dict[str, Any] = {
        "settings": {"profile": str(profile), "seed": 3}, "users": users, "at_us": [] if users else load.at_us[:many],
        "input_tokens": load.inputs[:many], "output_tokens": load.outputs[:many],
    }  # fmt: skip
    (seen,) = InProcess().answers([job])
    rows = zip(seen.sent_us, seen.first_us, seen.last_us, load.outputs[:many], strict=True)
    return _latencies(
        sorted((s, first, last, n) for s, first, last, n in rows if not (s is None or first is None or last is None))
    )


def replay(name: str, measured: Latencies, again: Latencies, *, held_out: bool) -> Replay:
    numbers = []
    for number in measured:
        for quantile in QUANTILES:
            p = float(f"0.{quantile[1:]}")
            one, two = (float(np.quantile(side[number], p)) for side in (measured, again))
            ends = [quantile_interval(np.sort(side[number]), p, dependence(side[number])) for side in (measured, again)]
            apart = is_apart(*((end.low, end.high) if isinstance(end, Interval) else None for end in ends))
            off = two / one - 1
            numbers.append(
                ReplayedNumber(number=number, quantile=quantile, measured=one, replayed=two, off=off, apart=apart)
            )
    return Replay(name=name, held_out=held_out, numbers=numbers)


@dataclass
class Fitted:
    """A profile with replays, the requests per second of 16 users, and what 8 users saw."""

    profile: Profile
    per_s: float
    at_8: Latencies


def fitted(world: World, folder: Path, seconds: float = 60.0, seed: int = 0) -> Fitted:
    """The profile of runs of 1, 4 and 16 users and a rate, with replays of these and of 8 users."""
    most = 20_000
    runs: list[tuple[str, int | None, Load, list[Stream]]] = []
    for users in (1, 4, 16, 8):
        load = made_load(world, most, seed * 100 + users)
        runs.append(
            (f"{users} users", users, load, served(world, load, users=users, until_us=seconds * 1e6, seed=seed))
        )
    per_s = len(runs[2][3]) / seconds
    load = made_load(world, most, seed * 100 + 5, rate=0.5 * per_s)
    runs.append(("a rate", None, load, served(world, load, until_us=seconds * 1e6, seed=seed)))
    used = [run for run in runs if run[0] != "8 users"]
    fit = fit_batching([one[3] for one in used], stream(seed, "fit"))
    known = made_runs([one[3] for one in used])
    known[-1] = replace(known[-1], load={"mode": "rate"})
    profile = batching_profile(fit, known, date="2026-12-01", trueload=None, server=None)
    file = folder / "fitted.json"
    file.write_bytes(orjson.dumps(to_plain(profile)))
    replays = [
        replay(name, seen_by(streams), of_the_mock(file, load, users, len(streams)), held_out=name == "8 users")
        for name, users, load, streams in runs
    ]
    profile = replace(profile, replay=replays, warnings=[*profile.warnings, *warnings_of(replays)])
    return Fitted(profile, per_s, seen_by(runs[3][3]))


@dataclass
class Day:
    """One hour, from which stretches take the requests of a world."""

    world: World
    hours: Sequence[Hour]

    def requests(self, hour: Hour, seconds: float, draw: int, times: float = 1.0) -> Requests:
        rate = hour.rate * times
        load = made_load(self.world, max(1, round(rate * seconds)), 7_000 + draw, rate)
        return Requests(load.at_us, load.inputs, load.outputs)


def plan_of(found: Fitted, day: Day, slo: Sequence[str], folder: Path, draws: int) -> PlanContent:
    """The plan of that hour, with 1 to 16 replicas."""
    server = drawn(found.profile, draws, folder)
    stretches = Stretches(cast("Simulators", InProcess()), server, day, parse(slo), "round_robin")
    return planned(stretches, Asked(1, 16, draws, None, None, (), "", {}))


def holding(world: World, day: Day, replicas: int, slo: Sequence[str], stretches: int, seconds: float = 120.0) -> float:
    """The share of stretches in which the server with this many replicas keeps the objectives at the peak."""
    kept = 0
    rate = day.hours[0].rate
    for seed in range(stretches):
        load = made_load(world, round(rate * seconds), 90_000 + seed, rate)
        seen = seen_by(served(world, load, replicas=replicas, seed=seed))
        kept += all(
            one.holds(float(np.quantile(seen[f"{one.metric}_ms"], 0.99, method="higher"))) for one in parse(slo)
        )
    return kept / stretches


def judged(name: str, folder: Path, draws: int = 10, stretches: int = 4) -> str:
    """A row: the largest error at the held-out load, the plan, and how often the server then meets the objectives."""
    world = WORLDS[name]
    found = fitted(world, folder)
    slo = [f"{number[:4]}:p99<{room * np.quantile(found.at_8[number], 0.99):.1f}ms"
           for number, room in (("ttft_ms", 2.0), ("tpot_ms", 1.3))]  # fmt: skip
    day = Day(world, [Hour(0, 3_600, round(2.2 * found.per_s, 2))])
    plan = plan_of(found, day, slo, folder, draws)
    held_out = next(one for one in found.profile.replay or () if one.held_out)
    off = max((row for row in held_out.numbers if row.apart is not None), key=lambda row: abs(row.off or 0.0))
    replicas = "more than 16" if plan.replicas is None else str(plan.replicas)
    holds = round(stretches * holding(world, day, plan.replicas or 16, slo, stretches))
    warned = sum("off" in one or "pauses" in one for one in found.profile.warnings)
    return (
        f"| {name} | {off.off:+.0%} ({off.number[:4].upper()} {off.quantile}) | {warned} | {replicas} | "
        f"{'known' if plan.known else 'not known: ' + plan.unknown[0].partition(';')[0]} | {holds} of {stretches} |"
    )
