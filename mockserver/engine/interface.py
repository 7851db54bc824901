"""The interface of engines. Engines are pure: they are given the time and never read a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from mockserver.engine.work import Drafts, Work
from mockserver.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A request as an engine sees it."""

    received_ns: int
    """The time that the plan counts from."""
    plan: Plan
    input_tokens: int | None = None
    """None unless the engine needs it (`needs_input_tokens`)."""
    blocks: Sequence[int] = ()
    """The hash chain of the full KV blocks of prompt and reply. Empty unless the engine needs it (`block_tokens`)."""
    priority: int = 0
    """Lower values are served first if the engine schedules by priority."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """An engine's report about a finished request."""

    plan: Plan
    """The times at which the engine emitted the tokens. If the plan decides, this is the plan itself."""
    facts: dict[str, int]
    """For the ledger: `queue_ns`, `steps`, and other values that the engine knows."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """The state of an engine for /metrics. None: this engine has no such value."""

    running: int
    waiting: int = 0
    kv_usage: float | None = None
    """Share of the KV blocks in use, from 0 to 1."""
    prefix_queries: int | None = None
    """Tokens looked up in the prefix cache, and tokens found there, since the start."""
    prefix_hits: int | None = None
    preemptions: int | None = None
    iteration_tokens: Mapping[int, int] = field(default_factory=dict)
    """The number of steps by their number of tokens, since the start."""
    drafts: Drafts | None = None
    """Speculative decoding since the start."""

    def since(self, earlier: EngineState) -> EngineState:
        """The current levels, with counters relative to an earlier state."""

        def more(now: int | None, then: int | None) -> int | None:
            return None if now is None or then is None else now - then

        return replace(
            self,
            prefix_queries=more(self.prefix_queries, earlier.prefix_queries),
            prefix_hits=more(self.prefix_hits, earlier.prefix_hits),
            preemptions=more(self.preemptions, earlier.preemptions),
            iteration_tokens=Counter(self.iteration_tokens) - Counter(earlier.iteration_tokens),
            drafts=None if self.drafts is None or earlier.drafts is None else self.drafts.since(earlier.drafts),
        )


class Engine(Protocol):
    """Decides when the tokens of all requests are emitted."""

    needs_input_tokens: bool
    """Whether a prompt must be counted before its request is admitted."""
    block_tokens: int
    """Tokens per KV block if the engine needs `EngineRequest.blocks`, else 0."""

    def admit(self, key: int, request: EngineRequest) -> None:
        """Accept a request under this key."""

    def release(self, key: int) -> EngineReport:
        """Forget a request, finished or not."""

    def work(self, key: int) -> Work:
        """The work so far for an admitted request."""

    def next_ns(self) -> int | None:
        """When to step the engine next. None if there is nothing to do."""

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        """The tokens emitted since the last step, up to `now_ns`: (key, tokens), in order of time."""

    def state(self) -> EngineState:
        """The current state."""


@runtime_checkable
class PlanEngine(Engine, Protocol):
    """An engine that emits tokens one by one at the times of the plan, regardless of other requests. A stream can then
    follow its plan by itself, which is cheaper than engine steps."""

    def follow(self, key: int, request: EngineRequest) -> None:
        """Count a request in `state` until `release`, without stepping it."""
