"""summary.json: the load, and the state of the client. As the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from bench.documents.numbers import Plan, Statistics


class LoadOffPlan(TypedDict):
    """Runs whose load can be changed while it goes on: the part, between two changes, in which arrivals or users were
    least as the settings and the recorded changes say. share is of its arrivals, or of its users' time."""

    of: str
    share: float
    start_s: float
    end_s: float


class LoadWaitedAtCap(TypedDict):
    n: int
    share: float | None
    wait_ms: Statistics


class LoadReadyNotSent(TypedDict):
    """Closed loops: users that were free and whose next request was not sent, through the client's own fault. share
    is of the users' time."""

    share: float
    typical_ms: float
    longest_ms: float


class LoadLittlesLaw(TypedDict):
    dispatched: int | None
    records: int | None
    dispatcher_mean: float | None
    records_mean: float | None
    difference: float | None


class Load(TypedDict):
    mode: str
    offered_rps: float | None
    achieved_rps: float | None
    concurrency: int | None
    max_concurrency: int | None
    concurrency_mean: float | None
    concurrency_max: int
    plan: Plan | None
    off_plan: LoadOffPlan | None
    waited_at_cap: LoadWaitedAtCap | None
    ready_not_sent: LoadReadyNotSent | None
    littles_law: LoadLittlesLaw


class InstrumentClock(TypedDict):
    kernel: int
    user: int
    mixed: int


class InstrumentCoalesced(TypedDict):
    chunks: int
    of: int
    share: float | None


class InstrumentStampBounds(TypedDict):
    chunks: int
    wide: int
    wide_share: float | None
    width_ms: Statistics


class InstrumentLoopLagMs(TypedDict):
    n: int
    p50: float | None
    p99: float | None
    max: float | None
    of: str


class InstrumentCpu(TypedDict):
    n: int
    mean: float
    p50: float
    p99: float
    max: float
    seconds_over_90: float


class InstrumentRunQueue(TypedDict):
    mean: float
    p99: float
    max: float


class InstrumentPause(TypedDict):
    """The longest time that a worker's loop was due and did nothing, since the run began."""

    longest_ms: float
    worker: int | None
    share_of_run: float | None


class Instrument(TypedDict):
    send_lateness_ms: Statistics
    connect_ms: Statistics
    clock: InstrumentClock
    coalesced: InstrumentCoalesced
    stamp_bounds: InstrumentStampBounds
    loop_lag_ms: InstrumentLoopLagMs | None
    cpu: InstrumentCpu | None
    run_queue: InstrumentRunQueue | None
    pause: InstrumentPause | None
    workers: int


class Stalls(TypedDict):
    requests: int
    stalls: int
    max_ms: float | None


class WindowStationarityValue(TypedDict):
    change: float
    p: float
    drifted: bool


class Window(TypedDict):
    start_s: float | None
    end_s: float | None
    method: str
    rounds: float | None
    stationarity: Mapping[str, WindowStationarityValue | None] | None
    warnings: Sequence[str]
