"""A small step server for the fit: it generates streams as a client would see them, from hidden coefficients.

It shares nothing with the mock: a step computes the decodes of all active streams and the waiting prompts, within a
token budget; its stamps have jitter, and some come late.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.fit.streams import Stream

Varied = Callable[[random.Random], Callable[[float, int, float], float]]
"""Begins a server: a function of a step's cost (us), its decodes and the instant (us), which returns its duration."""


@dataclass(frozen=True)
class StepServer:
    """The true values of the server (us), and the accuracy of its client."""

    b0: float = 6100.0
    b1: float = 21.0
    b2: float = 83.0
    b3: float = 0.0
    a0: float = 2300.0
    a1: float = 0.0
    prompt: float = 0.0
    """What the last part of a prompt costs its step besides its tokens."""
    w0: float = 0.0
    """How long it waits before a step after being idle."""
    seqs: int = 10_000
    budget: int = 100_000
    jitter_us: float = 60.0
    outliers: float = 0.0
    """The share of steps that take longer, by half of a step to three."""
    apart_us: float | None = None
    """The tokens of a step come one after the other, this far apart, the last at its end; None: together, at its end."""
    varied: Varied | None = field(default=None, hash=False)
    """How its steps vary around their cost (step_families.py)."""
    curve: dict[int, float] = field(default_factory=dict, hash=False)
    """Total decode cost of a batch, if it is not b2 per decode: by batch size; the largest entry that is not larger
    applies."""


@dataclass
class _Live:
    sent: float
    prompt: int
    cached: int
    output: int
    left: int = 0
    stamps: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    got: int = 0


def closed_loop(
    server: StepServer,
    users: int,
    seconds: float,
    *,
    prompts: tuple[int, int] = (40, 400),
    outputs: tuple[int, int] = (16, 128),
    cached_share: float = 0.0,
    tokens_a_chunk: int = 1,
    rate: float | None = None,
    seed: int = 0,
) -> list[Stream]:
    """What a closed loop of users sees. Lengths are uniform. With a `rate` (per second) requests arrive independently
    instead."""
    chance = random.Random(seed)

    def request(at: float) -> _Live:
        prompt = chance.randint(*prompts)
        cached = int(cached_share * prompt) // 16 * 16
        return _Live(at, prompt, cached, chance.randint(*outputs), prompt - cached)

    coming = [request(1000.0 * user) for user in range(users)]
    if rate is not None:
        coming, at = [], 0.0
        while at < seconds * 1e6:
            at += chance.expovariate(rate) * 1e6
            coming.append(request(at))
    varied = None if server.varied is None else server.varied(random.Random(seed + 1))
    queue: deque[_Live] = deque()
    prefilling: list[_Live] = []
    running: list[_Live] = []
    done: list[_Live] = []
    now, until = 0.0, seconds * 1e6
    while coming or queue or prefilling or running:
        coming.sort(key=lambda live: _ready(server, live))
        while coming and _ready(server, coming[0]) <= now:
            queue.append(coming.pop(0))
        if not (queue or prefilling or running):
            now = _ready(server, coming[0]) + server.w0
            continue
        budget = server.budget - len(running)
        decodes = len(running)
        context = sum(live.prompt + live.got for live in running)
        prefill = 0
        firsts: list[_Live] = []
        while budget > 0 and (prefilling or (queue and len(running) + len(firsts) + len(prefilling) < server.seqs)):
            live = prefilling[0] if prefilling else queue[0]
            tokens = min(live.left, budget)
            live.left -= tokens
            budget -= tokens
            prefill += tokens
            if not prefilling:
                prefilling.append(queue.popleft())
            if live.left == 0:
                firsts.append(prefilling.pop(0))
        of_decodes = server.b2 * decodes
        if server.curve:
            of_decodes = server.curve[max(size for size in server.curve if size <= max(decodes, min(server.curve)))]
        took = server.b0 + server.b1 * prefill + of_decodes + server.b3 * context + server.prompt * len(firsts)
        if chance.random() < server.outliers:
            took += chance.uniform(0.5, 3.0) * server.b0
        if varied is not None:
            took = varied(took, decodes, now)
        now += took
        seen = now + abs(chance.gauss(0, server.jitter_us))
        running += firsts
        for place, live in enumerate(running):
            live.got += 1
            last = live.got == live.output
            if live.got == 1 or last or (live.got - 1) % tokens_a_chunk == 0:
                live.counts.append(live.got - sum(live.counts))
                early_us = -3.0 * place if server.apart_us is None else server.apart_us * (len(running) - 1 - place)
                live.stamps.append(seen - early_us)
        for live in [live for live in running if live.got == live.output]:
            running.remove(live)
            done.append(live)
            if rate is None and now < until:
                coming.append(request(live.stamps[-1] + 150.0))
    streams = [
        Stream(live.sent, live.stamps[-1], live.prompt, live.cached, tuple(live.stamps), tuple(live.counts), sure=True)
        for live in done
    ]
    return sorted(streams, key=lambda stream: stream.sent_us)


def _ready(server: StepServer, live: _Live) -> float:
    return live.sent + server.a0 + server.a1 * live.prompt
