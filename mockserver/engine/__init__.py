"""Engines decide when the tokens of the requests come out.

An engine is driven by `pacing.Stepper`: requests are admitted, `next_ns` says when the engine wants to be stepped, and
`step(now)` gives what has come out by then. A new engine is one file and one line in `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Callable

from mockserver.engine.interface import Engine, Work
from mockserver.engine.sampled import SampledEngine

__all__ = ["ENGINES", "Engine", "Work"]

ENGINES: dict[str, Callable[[], Engine]] = {
    "sampled": SampledEngine,
}
