"""The states of a run, as in run.yaml and every line of live.jsonl."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """The states in order. A run without a warm-up goes from probing to running."""

    PREPARING = "preparing"
    PROBING = "probing"
    WARMING_UP = "warming up"
    RUNNING = "running"
    DRAINING = "draining"
    """Everything is sent, or the user ended the sending; requests in flight finish."""
    EVALUATING = "evaluating"
    ENDED = "ended"
