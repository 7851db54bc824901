"""What an engine is, and what it is handed. Engines are pure: given the time, they never read a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from mockserver.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A request as an engine sees it."""

    received_ns: int
    """The instant from which the plan counts."""
    plan: Plan
    input_tokens: int | None = None
    """None where the engine did not ask for it (`needs_input_tokens`)."""
    blocks: Sequence[int] = ()
    """The hash chain of the full KV blocks of prompt and reply; empty where the engine did not ask (`block_tokens`)."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What an engine has to say about a request that is over."""

    plan: Plan
    """When the engine gave each token, up to the last that it gave: the plan itself, where the plan decides."""
    facts: dict[str, int]
    """For the ledger: `queue_ns`, `steps`, and what else the engine knows."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """What /metrics shows of an engine. None: this engine has no such thing."""

    running: int
    waiting: int = 0
    kv_usage: float | None = None
    """Share of the KV blocks that requests hold, from 0 to 1."""
    prefix_queries: int | None = None
    """Tokens that were looked up in the prefix cache, and those found there, since the start."""
    prefix_hits: int | None = None
    preemptions: int | None = None
    iteration_tokens: Mapping[int, int] = field(default_factory=dict)
    """Tokens of a step -> number of steps with so many, since the start."""

    def since(self, earlier: EngineState) -> EngineState:
        """The same levels, and the counters from an earlier state on."""

        def more(now: int | None, then: int | None) -> int | None:
            return None if now is None or then is None else now - then

        return replace(
            self,
            prefix_queries=more(self.prefix_queries, earlier.prefix_queries),
            prefix_hits=more(self.prefix_hits, earlier.prefix_hits),
            preemptions=more(self.preemptions, earlier.preemptions),
            iteration_tokens=Counter(self.iteration_tokens) - Counter(earlier.iteration_tokens),
        )


class Engine(Protocol):
    """What drives the tokens of all requests."""

    needs_input_tokens: bool
    """Whether a request must be counted before it is admitted."""
    block_tokens: int
    """Tokens of a KV block, where the engine wants `EngineRequest.blocks`; else 0."""

    def admit(self, key: int, request: EngineRequest) -> None:
        """Take a request in; `key` names it from now on."""

    def release(self, key: int) -> EngineReport:
        """The request is over, finished or not: forget it."""

    def next_ns(self) -> int | None:
        """The instant at which the engine wants to be stepped; None when there is nothing to do."""

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        """What has come out by `now_ns` and was not given before: (key, tokens), in the order of their instants."""

    def state(self) -> EngineState:
        """How it stands now."""


@runtime_checkable
class PlanEngine(Engine, Protocol):
    """An engine whose tokens come one by one at the instants of the plan, whatever else runs. Then a stream can keep its
    plan without the engine's steps, which is cheaper."""

    def follow(self, key: int, request: EngineRequest) -> None:
        """Know of a request that is not stepped: it counts in `state`, until `release`."""
