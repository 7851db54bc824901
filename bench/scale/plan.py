"""How many workers a load needs."""

from __future__ import annotations

from bench.errors import UsageError
from bench.modes.interface import LoadPlan

STREAMS_A_WORKER = 1_000
RATE_A_WORKER = 2_000
"""With `--workers auto`: one worker for this many requests in flight, and for this many requests a second."""


def workers_of(plan: LoadPlan, wanted: str, processors: int) -> int:
    """The requested number of workers, or (`auto`) as many as the load needs, and never more than it can be divided by.

    Raises UsageError if several are requested for a load that cannot be divided.
    """
    if plan.undivided is not None:
        if wanted not in ("auto", "1"):
            raise UsageError(f"{plan.undivided}, which only one worker can know: --workers 1, or leave --warmup out")
        return 1
    if wanted != "auto":
        workers = int(wanted)
    else:
        by_rate = 0 if plan.rate is None else -(-plan.rate // RATE_A_WORKER)
        by_streams = -(-plan.at_once // STREAMS_A_WORKER) if plan.bounded else 0
        workers = min(processors, max(1, by_streams, int(by_rate)))
    divisible_by = (plan.requests, plan.users, plan.at_once if plan.bounded else None)
    return min([workers, *[n for n in divisible_by if n is not None]])
