"""Engines decide when the tokens of the requests come out.

An engine is driven by `pacing.Stepper`: requests are admitted, `next_ns` says when the engine wants to be stepped, and
`step(now)` gives what has come out by then. A new engine is one file and one line in `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mockserver.engine.interface import Engine, EngineState, PlanEngine, Released, Work
from mockserver.engine.sampled import SampledEngine

if TYPE_CHECKING:
    from mockserver.config import MockConfig

__all__ = ["ENGINES", "Engine", "EngineState", "PlanEngine", "Released", "Work"]

ENGINES: dict[str, Callable[[MockConfig], Engine]] = {
    "sampled": lambda config: SampledEngine(),
}
