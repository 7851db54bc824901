"""Engines decide when tokens are emitted.

`pacing.Stepper` drives an engine: it admits requests, asks `next_ns` when to step, and gets the tokens of that step
from `step(now)`. To add an engine, write a file and add a line to `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mockserver.combinations import step_cost_of
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.interface import Engine, EngineReport, EngineRequest, EngineState, PlanEngine
from mockserver.engine.sampled import SampledEngine
from mockserver.engine.timeline import TimelineEngine
from mockserver.engine.work import Work

if TYPE_CHECKING:
    from mockserver.config import MockConfig

__all__ = ["ENGINES", "Engine", "EngineReport", "EngineRequest", "EngineState", "PlanEngine", "Work"]


def _sampled(config: MockConfig) -> Engine:
    if config.sampled_times is not None:
        return TimelineEngine(factors=config.sampled_times.factors)
    if config.load_slowdown == 0 and config.num_speculative_tokens == 0:
        return SampledEngine()
    return TimelineEngine(config.load_slowdown, config.num_speculative_tokens)


def _batching(config: MockConfig) -> Engine:
    return BatchingEngine(
        step_cost_of(config),
        prefix_caching=config.prefix_caching,
        drafts=config.num_speculative_tokens,
        by_priority=config.scheduling_policy == "priority",
        seed=config.seed,
    )


ENGINES: dict[str, Callable[[MockConfig], Engine]] = {
    "sampled": _sampled,
    "batching": _batching,
    "replay": lambda config: TimelineEngine(config.load_slowdown),
}
