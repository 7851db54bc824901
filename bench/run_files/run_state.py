"""Where a run is. run.yaml and every line of live.jsonl say it."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """The states in their order. A run without warm-up goes from probing to running."""

    PREPARING = "preparing"
    PROBING = "probing"
    WARMING_UP = "warming up"
    RUNNING = "running"
    DRAINING = "draining"
    """All is sent, or the user ended the sending: requests in flight finish."""
    EVALUATING = "evaluating"
    ENDED = "ended"
