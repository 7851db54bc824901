"""Loads that rise step by step: pure decisions over the measured steps, up to the highest that a machine holds.

A step *holds* if no sign of CLIENT_SIGNS fires and the server keeps its pace. A climb ends with a step that does not
hold, with the last step, or when the time is over. The signs and their limits are the same as in every run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.results.summary import RunSummary
from bench.series.drive import End
from bench.verdict.finding import Status, Verdict

CLIENT_SIGNS = {
    "cpu": "the client's processor",
    "send_lateness": "lateness of the client's sends",
    "sent_rate": "lateness of the client's sends",
    "sent_dispersion": "bursts in the client's sends",
    "waited_at_cap": "replies that come ten times too late",
    "loop_lag": "lateness of the client's event loop",
    "wide_stamps": "the bounds of the time stamps",
    "littles_law": "the client's bookkeeping",
    "errors": "failed requests",
    "nothing_measured": "no request that ended",
}
"""Signs that a load is too high, and what gave way, the most specific first.

The run-queue sign is missing on purpose: it is about other programs, and marks the whole measurement as `disturbed`.
"""

SERVER_BUSY = 0.9
"""A server that uses more than this share of a processor limits the load, not the client."""
PACE_OFF = 0.05
"""A server whose mean gap differs by more than this share from the configured gap also limits the load."""

NO_TIME = "the time for this was over"
NO_MORE = "nothing: the last step was reached"


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rising loads of one kind. `gap_ms` is the server's time to the first token and between tokens.

    kind `streams`: a step is a number of streams, open for the whole step. kind `rate`: a step is a number of requests
    per second, of one token each. `unit` is the unit of the ceiling.
    """

    title: str
    unit: str
    kind: Literal["streams", "rate"]
    gap_ms: float
    steps: tuple[int, ...]

    def quick(self) -> Ladder:
        """Every other step: takes half as long and gives a coarser ceiling."""
        return replace(self, steps=self.steps[::2])

    def counts(self, sign: str) -> bool:
        """Whether a sign counts on this ladder. A one-token reply arrives in one read, whose bounds are wide at any
        load."""
        return not (self.kind == "rate" and sign == "wide_stamps")


LADDERS: dict[str, Ladder] = {
    "chunks": Ladder("chunks/s, a chunk every 20 ms a stream", "chunks/s", "streams", 20.0,
                     (500, 1000, 2000, 4000)),
    "requests": Ladder("requests/s, open loop, one token", "requests/s", "rate", 20.0,
                       (1000, 2000, 4000, 8000)),
    "streams": Ladder("streams at once, a chunk every 500 ms", "streams", "streams", 500.0,
                      (2500, 5000, 10000)),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The measurements of one step. `load` is in the unit of its ladder: measured for chunks and requests, as requested
    for streams.

    `lateness_ms`: p50 and p99, open loop only. CPU is in shares of one processor. `signs`: the signs that fired, by
    name, each with its sentence. `cause`: what gave way; None if the step holds.
    """

    asked: int
    load: float
    client_cpu: float | None
    server_cpu: float | None
    lateness_ms: tuple[float, float] | None
    disturbed: bool
    signs: Mapping[str, str]
    cause: str | None


def judge_step(
    ladder: Ladder, asked: int, summary: RunSummary, verdict: Verdict, server: str, cpu_s: float | None
) -> Step:
    """The step of a run, from its summary, its verdict, and the processor time that the server used meanwhile."""
    instrument, throughput = summary.instrument, summary.throughput
    duration_s = throughput.duration_s
    server_cpu = None if cpu_s is None or not duration_s else cpu_s / duration_s
    signs = {f.sign: f.sentence for f in verdict.findings if f.status is not Status.VALID}
    p50_ms, p99_ms = instrument.send_lateness_ms.p50, instrument.send_lateness_ms.p99
    if ladder.kind == "rate":
        load = summary.load.achieved_rps
    else:
        load = float(asked) if ladder.unit == "streams" else throughput.output_tokens_per_s
    return Step(
        asked=asked,
        load=0.0 if load is None else load,
        client_cpu=None if instrument.cpu is None else instrument.cpu.mean,
        server_cpu=server_cpu,
        lateness_ms=None if ladder.kind != "rate" or p50_ms is None or p99_ms is None else (p50_ms, p99_ms),
        disturbed="run_queue" in signs,
        signs=signs,
        cause=first_cause([s for s in signs if ladder.counts(s)], server_cpu, pace_off(ladder, summary), server),
    )


def pace_off(ladder: Ladder, summary: RunSummary) -> float | None:
    """The share by which the server's mean gap differs from the configured one; for one-token replies, its time to
    first token."""
    latency = summary.latency
    mean_ms = latency["ttft_ms" if ladder.kind == "rate" else "chunk_gap_ms"].mean
    return None if mean_ms is None else mean_ms / ladder.gap_ms - 1


def first_cause(signs: Collection[str], server_cpu: float | None, off: float | None, server: str) -> str | None:
    """What gave way, or None. A busy client explains a slow server on the same machine, but not the reverse."""
    if "cpu" in signs:
        return CLIENT_SIGNS["cpu"]
    if (server_cpu is not None and server_cpu > SERVER_BUSY) or (off is not None and abs(off) > PACE_OFF):
        return server
    return next((cause for sign, cause in CLIENT_SIGNS.items() if sign in signs), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """A ladder climbed against one server: the steps taken, and why the climb ended."""

    steps: tuple[Step, ...]
    ended: str

    @property
    def held(self) -> float | None:
        """The highest load that held; None if the first step did not."""
        return max((step.load for step in self.steps if step.cause is None), default=None)

    @property
    def client_limited(self) -> bool:
        """Whether the client gave way. If it did not, its own ceiling is higher."""
        return self.ended in CLIENT_SIGNS.values()


def next_load(ladder: Ladder, taken: Sequence[Step], *, time_is_over: bool) -> int | End:
    """The next load, or why the climb ends. `taken`: the steps so far. A step that fails while other programs are busy
    is tried once more."""
    if _is_tried_again(taken):
        load = taken[-1].asked
    elif taken and taken[-1].cause is not None:
        return End(taken[-1].cause)
    else:
        left = ladder.steps[len({step.asked for step in taken}) :]
        if not left:
            return End(NO_MORE)
        load = left[0]
    return End(NO_TIME) if time_is_over else load


def climb_of(taken: Sequence[Step], ended: str) -> Climb:
    """The climb of these steps. If a load was tried twice, the second try counts; if its second try is missing, the
    load is left out."""
    steps = {step.asked: step for step in taken}
    if _is_tried_again(taken):
        del steps[taken[-1].asked]
    return Climb(steps=tuple(steps.values()), ended=ended)


def _is_tried_again(taken: Sequence[Step]) -> bool:
    """Whether the last step has to be tried once more."""
    if not taken or taken[-1].cause is None or not taken[-1].disturbed:
        return False
    return len(taken) < 2 or taken[-2].asked != taken[-1].asked
