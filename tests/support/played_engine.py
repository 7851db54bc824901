"""A batching engine stepped to its end."""

from __future__ import annotations

from collections.abc import Iterator

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.plans.plan import Plan

US = 1000


def work(
    received_us: int, prompt: int, reply: int, *, blocks: object = (), shares: tuple[int, ...] = ()
) -> EngineRequest:
    plan = Plan(0, (0,) * (reply - 1), reply, step_tokens=shares)
    return EngineRequest(received_us * US, plan, prompt, blocks)  # type: ignore[arg-type]


def play(engine: BatchingEngine) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Step the engine at each instant that it requests, to its end."""
    while (at := engine.next_ns()) is not None:
        given = engine.step(at)
        if given:
            yield at, given


def stamps_us(engine: BatchingEngine) -> dict[int, list[int]]:
    """Key -> the microseconds at which its tokens come out."""
    seen: dict[int, list[int]] = {}
    for at, out in play(engine):
        for key, tokens in out:
            assert at % US == 0
            seen.setdefault(key, []).extend([at // US] * tokens)
    return seen
