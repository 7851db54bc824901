"""Where a cluster worker runs, and how its node's clock compares with the driver's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """One worker of a run with --cluster.

    `clock_offset_ns`: the driver's CLOCK_MONOTONIC minus the node's, measured before the load, with an error of at most
    `clock_bound_ns`; both are 0 if driver and node share a clock. `clock_drift_ns`: how far later measurements deviated
    from that offset, beyond the error of both; None before the first of them. `directory`: where the worker keeps its
    shards on the node until the driver has copied all of them.
    """

    worker: int
    node: str
    processors: int
    directory: str
    clock_offset_ns: int
    clock_bound_ns: int
    clock_drift_ns: int | None = None
