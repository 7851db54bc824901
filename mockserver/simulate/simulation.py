"""Engines behind a router, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from mockserver.clock import NS_PER_US
from mockserver.config import MockConfig, load
from mockserver.engine import ENGINES, Engine, EngineRequest
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import ReplyLength, draw_plan
from mockserver.rng import stream
from mockserver.simulate.job import Job, Outcome
from mockserver.simulate.routers import ROUTERS
from mockserver.step_cost import BLOCK_TOKENS

_APART_NS = 1_000_000
"""The interval between the starts of closed-loop users."""


@dataclass(slots=True)
class _Replica:
    """A server: its engine, and its unfinished requests: request -> tokens so far."""

    engine: Engine
    in_flight: dict[int, int] = field(default_factory=dict)
    next_ns: int | None = None


class _Simulation:
    """A running job."""

    def __init__(self, job: Job, config: MockConfig) -> None:
        self.job = job
        self._config = config
        self._latencies = latencies_of(config)
        many = len(job.input_tokens)
        self.outcome = Outcome([None] * many, [None] * many, [None] * many, [None] * many)
        self._router = ROUTERS[job.router]()
        self._started = 0
        self._live: list[_Replica] = []
        self._resize(job.replicas)
        self._until_ns = None if job.until_us is None else round(job.until_us * NS_PER_US)
        # (time, request) of requests to send. In a closed loop, the users' first requests.
        self._coming: list[tuple[int, int]] = []
        self._following = many
        if job.users is None:
            self._coming = [(round(at * NS_PER_US), request) for request, at in enumerate(job.at_us)]
        else:
            self._following = min(job.users, many)
            self._coming = [(user * _APART_NS, user) for user in range(self._following)]
        heapq.heapify(self._coming)
        self._changes = sorted(job.changes, reverse=True)

    def run(self) -> Outcome:
        while True:
            busy = [replica for replica in self._live if replica.next_ns is not None]
            soonest = min(busy, key=_next_ns, default=None)
            due_ns = None if soonest is None else soonest.next_ns
            if self._coming and (due_ns is None or self._coming[0][0] <= due_ns):
                due_ns = self._coming[0][0]
            if due_ns is None or (self._until_ns is not None and due_ns > 2 * self._until_ns):
                return self.outcome
            if self._changes and self._changes[-1][0] * NS_PER_US <= due_ns:
                self._resize(self._changes.pop()[1])
            elif self._coming and self._coming[0][0] == due_ns:
                self._send(*heapq.heappop(self._coming))
            elif soonest is not None:
                self._step(soonest, due_ns)

    def _resize(self, replicas: int) -> None:
        while len(self._live) < replicas:
            seed = stream(self._config.seed, "replica", self._started).getrandbits(32)
            self._started += 1
            self._live.append(_Replica(ENGINES[self._config.engine](self._config.model_copy(update={"seed": seed}))))
        del self._live[replicas:]

    def _send(self, at_ns: int, request: int) -> None:
        if self._until_ns is not None and at_ns >= self._until_ns:
            return
        job, config = self.job, self._config
        prompt, tokens = job.input_tokens[request], job.output_tokens[request]
        group = job.prefix[request][0] if job.prefix else request
        place = self._router.choose([len(replica.in_flight) for replica in self._live], group)
        length = ReplyLength(config.max_model_len, asked=tokens)
        plan = draw_plan(self._latencies, config.seed, request, length, input_tokens=prompt)
        replica = self._live[place]
        replica.engine.admit(request, EngineRequest(at_ns, plan, prompt, self._blocks(request, prompt)))
        replica.in_flight[request] = 0
        replica.next_ns = replica.engine.next_ns()
        self.outcome.sent_us[request] = at_ns / NS_PER_US
        self.outcome.replica[request] = place

    def _blocks(self, request: int, prompt: int) -> Sequence[int]:
        """The hash chain of the shared part of a prompt."""
        if not self.job.prefix:
            return ()
        group, shared = self.job.prefix[request]
        return [(group << 32) + block for block in range(min(shared, prompt) // BLOCK_TOKENS)]

    def _step(self, replica: _Replica, now_ns: int) -> None:
        outcome, in_flight = self.outcome, replica.in_flight
        for request, tokens in replica.engine.step(now_ns):
            before = in_flight[request]
            in_flight[request] = before + tokens
            if before == 0:
                outcome.first_us[request] = now_ns / NS_PER_US
            if in_flight[request] >= self.job.output_tokens[request]:
                outcome.last_us[request] = now_ns / NS_PER_US
                del in_flight[request]
                replica.engine.release(request)
                if self.job.users is not None and self._following < len(self.job.input_tokens):
                    heapq.heappush(self._coming, (now_ns, self._following))
                    self._following += 1
        replica.next_ns = replica.engine.next_ns()


def _next_ns(replica: _Replica) -> int:
    assert replica.next_ns is not None
    return replica.next_ns


def simulate(job: Job) -> Outcome:
    """Raises UsageError for settings that the mock refuses, ValueError for a request that its KV cache cannot hold."""
    return _Simulation(job, load(None, job.settings)).run()
