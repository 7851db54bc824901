"""Where a worker of a cluster runs, and what its node's clock says beside the driver's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """One worker of a run with --cluster.

    `clock_offset_ns`: the driver's CLOCK_MONOTONIC less the node's, as measured before the load, wrong by at most
    `clock_bound_ns`; both are 0 where they are the same clock. `clock_drift_ns`: how far later measurements were off that,
    beyond what both can be wrong by; None before the first of them. `directory`: where its shards are on its node, until the
    driver has all of them.
    """

    worker: int
    node: str
    processors: int
    directory: str
    clock_offset_ns: int
    clock_bound_ns: int
    clock_drift_ns: int | None = None
