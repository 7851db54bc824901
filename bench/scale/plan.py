"""How a load is divided before it begins: how many workers it needs, and what each of them sends.

Pure decisions from the configuration and, for a recording, its arrivals.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from bench.clock import NS_PER_S
from bench.config import RunConfig
from bench.errors import UsageError
from bench.load.components import arrivals_of
from bench.load.share import Share, deal, divide, drawn
from bench.schedule import trace
from bench.workload import Drawn, Rows

STREAMS_A_WORKER = 1_000
RATE_A_WORKER = 2_000
"""With `--workers auto`: one worker for so many requests in flight, and for so many a second."""

_UNCAPPED_S = 10
"""An open loop without a cap is taken for the arrivals of so many seconds at once."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The arrivals of mode trace, in ns from the start; the first `warmup` of them are warm-up."""

    offsets_ns: array[int]
    warmup: int

    @property
    def requests(self) -> int:
        """Requests after the warm-up."""
        return len(self.offsets_ns) - self.warmup

    @property
    def busiest(self) -> int:
        """Most arrivals within ten seconds."""
        most = first = 0
        for last, at in enumerate(self.offsets_ns):
            while at - self.offsets_ns[first] > _UNCAPPED_S * NS_PER_S:
                first += 1
            most = max(most, last - first + 1)
        return most


def recording_of(config: RunConfig, rows: Rows | Drawn) -> Recording:
    """The arrivals that the rows or the recipe say, as far as the limits of the run go. Raises UsageError without any."""
    if (untimed := rows.untimed()) is not None:
        raise UsageError(f"--mode trace needs the time of every row, and {untimed}: give each an at_s, or use --rate")
    offsets = trace.offsets(rows.times_s(), config.trace_speed)
    duration_ns, warmup_ns = _limits_ns(config)
    planned, warmup = drawn(
        offsets,
        requests=config.requests,
        duration_ns=duration_ns,
        warmup_requests=config.warmup_requests,
        warmup_ns=warmup_ns,
    )
    if len(planned) == warmup:
        raise UsageError(f"--warmup {config.warmup} takes all {warmup} rows of the recording: leave some for the run")
    return Recording(planned, warmup)


def _limits_ns(config: RunConfig) -> tuple[int | None, int]:
    """The duration and the warm-up."""
    duration_ns = None if config.duration is None else round(config.duration * NS_PER_S)
    return duration_ns, round(config.warmup_s * NS_PER_S)


def most_in_flight(config: RunConfig, recording: Recording | None = None) -> int:
    """Connections that the plan may need at once; an open loop without a cap is taken for ten seconds' arrivals."""
    if config.concurrency is not None:
        most = config.concurrency
    elif config.max_concurrency is not None:
        most = config.max_concurrency
    elif recording is not None:
        most = recording.busiest
    elif config.rate is not None:
        most = max(1, round(config.rate * min(_UNCAPPED_S, config.duration if config.duration is not None else 10.0)))
    else:
        assert config.requests is not None
        most = config.requests
    if recording is not None:
        return min(most, len(recording.offsets_ns))
    return most if config.requests is None else min(most, config.requests + config.warmup_requests)


def workers_of(config: RunConfig, processors: int, recording: Recording | None = None) -> int:
    """How many workers: as many as were asked for, or as the load needs, and never more than it can be divided by."""
    no_cap = config.open_loop and config.max_concurrency is None
    at_once = most_in_flight(config, recording)
    if config.workers != "auto":
        wanted = int(config.workers)
    else:
        rate = recording.busiest / _UNCAPPED_S if recording is not None else config.rate
        by_rate = 0 if rate is None else -(-rate // RATE_A_WORKER)
        streams = 0 if no_cap else at_once
        wanted = min(processors, max(1, -(-streams // STREAMS_A_WORKER), int(by_rate)))
    requests = config.requests if recording is None else recording.requests
    return min([wanted, *[n for n in (requests, None if no_cap else at_once) if n is not None]])


def shares_of(config: RunConfig, workers: int, recording: Recording | None = None) -> list[Share]:
    """The share of each worker."""
    if recording is not None:
        return deal(recording.offsets_ns, recording.warmup, workers, config.max_concurrency)
    duration_ns, warmup_ns = _limits_ns(config)
    if not config.open_loop:
        # Maximum throughput: as many users as there are requests to send, or as may be in flight.
        return divide(
            most_in_flight(config),
            workers,
            requests=config.requests,
            duration_ns=duration_ns,
            warmup_requests=config.warmup_requests,
            warmup_ns=warmup_ns,
        )
    if workers == 1:
        # Nothing to deal out: arrivals are drawn as they come due.
        share = Share(
            requests=config.requests,
            duration_ns=duration_ns,
            warmup_requests=config.warmup_requests,
            warmup_ns=warmup_ns,
            cap=config.max_concurrency,
        )
        return [share]
    planned, warmup = drawn(
        arrivals_of(config),
        requests=config.requests,
        duration_ns=duration_ns,
        warmup_requests=config.warmup_requests,
        warmup_ns=warmup_ns,
    )
    return deal(planned, warmup, workers, config.max_concurrency)
