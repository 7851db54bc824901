"""The load of a run, and the state of the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from bench.results.base import Amount, Count, Number, Portion, Result, keys, one_of
from bench.results.numbers import PlanAgainstSent, Statistics


class OffPlan(Result, frozen=True, kw_only=True):
    """The part of a run, between two changes of its load, that was furthest below the settings and the recorded changes."""

    of: Annotated[str, one_of("arrivals", "users")]
    share: Amount
    """Share of the arrivals, or of the users' time."""
    start_s: Number
    end_s: Number


class WaitedAtCap(Result, frozen=True, kw_only=True):
    """Arrivals that waited for a slot under --max-concurrency."""

    n: Count
    share: Portion | None
    wait_ms: Statistics
    """How long they waited."""


class ReadyNotSent(Result, frozen=True, kw_only=True):
    """Closed loops: users who were free while their next request was not sent, because of the client."""

    share: Amount
    """Share of the users' time."""
    typical_ms: Amount
    """Sum of the squares of the waits, divided by their sum."""
    longest_ms: Amount


class NeverSent(Result, frozen=True, kw_only=True):
    """Requests (in an open loop of sessions: sessions) that were due but not made by the client when the sending stopped."""

    n: Count
    share: Portion
    """In a closed loop, the share of the users' time that they waited; otherwise the share of everything due."""


class LateEnds(Result, frozen=True, kw_only=True):
    """How long replies stayed open after their last token, which is not part of any latency."""

    mean_ms: Amount
    share: Amount
    """Share of the time to their last token."""


class Backlog(Result, frozen=True, kw_only=True):
    """Requests in flight at a fixed rate or at the times of a recording, counted from their due times (or sessions in
    progress, at a rate of new sessions), and whether they kept rising. If so, the server may not keep up, and latencies
    grow with the length of the run."""

    of: Annotated[str, one_of("requests", "sessions")]
    first: Amount
    """Their mean number in the first third of the sending time, which begins after the first of them have ended."""
    last: Amount
    """Their mean number in the last third."""
    e2el_growth: Amount
    """The median E2EL of the last third of the requests, from their due times, divided by that of the first third."""
    rises: bool


class LittlesLaw(Result, frozen=True, kw_only=True):
    """Mean requests in flight: as counted by the dispatchers, and computed from the records for the same time."""

    dispatcher_mean: Number | None
    records_mean: Number | None
    difference: Number | None
    """Records / dispatchers - 1."""
    dispatched: int | None
    records: int | None


class Load(Result, frozen=True, kw_only=True):
    """The load that the server was under."""

    mode: str
    offered_rps: Number | None
    """Requests per second by the settings, if a rate decides."""
    achieved_rps: Number | None
    """Requests sent per second. null: there was only one, or none waited for a response or for its time."""
    concurrency: int | None
    max_concurrency: int | None
    concurrency_mean: Number | None
    """Requests in flight, over the whole run."""
    concurrency_max: Count
    plan: PlanAgainstSent | None
    """Open loops only."""
    off_plan: OffPlan | None
    waited_at_cap: WaitedAtCap | None
    ready_not_sent: ReadyNotSent | None
    never_sent: NeverSent | None = None
    """Missing if unknown, as in files of older versions."""
    late_ends: LateEnds | None = None
    """Missing if no reply with a latency has ended, or an older version wrote the file."""
    backlog: Backlog | None = None
    """Missing if the load has no fixed rate and no recorded times, if there are fewer than 30 requests or sessions, or
    if an older version wrote the file."""
    littles_law: LittlesLaw


class Stalls(Result, frozen=True, kw_only=True):
    """Gaps between tokens that a reader would notice."""

    requests: Count
    """Requests with a stall."""
    stalls: Count
    max_ms: Number | None
    """The longest stall."""


class HalvesTest(Result, frozen=True, kw_only=True):
    """The second half of the steady window compared with the first."""

    change: Number
    """The change as a share of the mean."""
    p: Number
    """The probability of such a change by chance."""
    drifted: bool
    """Whether it is worth a warning."""


class SteadyWindow(Result, frozen=True, kw_only=True):
    """The steady part of the run, in s from its start. docs/metrics.md, The steady window."""

    start_s: Number | None
    end_s: Number | None
    method: str
    """How it was found, or why there is none."""
    rounds: Number | None
    """Its length in multiples of the median E2EL."""
    stationarity: (
        Annotated[Mapping[str, HalvesTest | None], keys(pattern=r"^(ttft_ms|tpot_ms|e2el_ms|output_tokens)$")] | None
    )
    """For each series, the second half of the window compared with the first: the change as a share of the mean, the
    probability of such a change by chance, and whether it is worth a warning. null: too short to tell."""
    warnings: Sequence[str]


class StampClocks(Result, frozen=True, kw_only=True):
    """Requests by the clock that stamped their chunks."""

    kernel: Count
    user: Count
    mixed: Count


class Coalesced(Result, frozen=True, kw_only=True):
    """Chunks that shared a read with a later chunk, as a share of all chunks."""

    chunks: Count
    of: Count
    share: Portion | None


class StampBounds(Result, frozen=True, kw_only=True):
    """Token chunks whose arrival is only known within bounds."""

    chunks: Count
    wide: Count
    """Chunks whose bounds are more than 0.1 ms and 1% of the median gap apart."""
    wide_share: Portion | None
    width_ms: Statistics


class LoopLag(Result, frozen=True, kw_only=True):
    """How late the event loops woke up, in ms."""

    n: Count
    p50: Number | None
    p99: Number | None
    max: Number | None
    of: Literal["every wake-up", "the worst second"]


class CpuShare(Result, frozen=True, kw_only=True):
    """The share of one processor that a worker used, over seconds and workers."""

    n: Count
    mean: Number
    p50: Number
    p99: Number
    max: Number
    seconds_over_90: Portion
    """The share of the busiest worker's seconds above 90%."""


class RunQueueShare(Result, frozen=True, kw_only=True):
    """The share of the time that a worker was ready to run but did not run: of the worst worker, and its worst second."""

    mean: Number
    p99: Number
    max: Number


class StolenTime(Result, frozen=True, kw_only=True):
    """The processor time that the hypervisor of a virtual machine withheld: it ran other machines, or keeps a quota."""

    share: Number
    """Of the processor time that the programs of this machine would have used."""
    seconds: Amount


class LongestPause(Result, frozen=True, kw_only=True):
    """The longest time since the run began that a worker's loop was due but did nothing."""

    longest_ms: Amount
    worker: Count | None
    share_of_run: Amount | None


class Instrument(Result, frozen=True, kw_only=True):
    """The client's data about itself, which show whether it measured well."""

    send_lateness_ms: Statistics
    """How much later than due requests were sent, without the wait for a slot and for a connection."""
    connect_ms: Statistics
    """How long requests waited for new connections."""
    clock: StampClocks
    coalesced: Coalesced
    stamp_bounds: StampBounds
    loop_lag_ms: LoopLag | None
    cpu: CpuShare | None
    run_queue: RunQueueShare | None
    stolen: StolenTime | None = None
    pause: LongestPause | None
    workers: Count
    """Worker processes that sent samples."""
