"""Divides one load among workers, so that together they send exactly that load.

An open loop's arrivals are drawn once, from one seed, and dealt out like cards: worker k of N sends arrivals k, k + N,
and so on. (If every worker drew the process from the same seed, there would be bursts of N; with N seeds, it would be
another process.) A closed loop's users and requests are divided as evenly as possible.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from bench.clock import NS_PER_S

BUSIEST_S = 10
"""An open loop without a cap is expected to have this many seconds of arrivals in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """When a load ends: after a number of requests, after a time, or at whichever comes first. The warm-up is extra.

    `ends_ns`: the end of a load that is planned over time (`--steps`), in ns from the start, including the warm-up.
    `finds_warmup`: the run detects the end of its warm-up during the load, and `warmup_ns` is the longest it may take.
    """

    requests: int | None
    duration_ns: int | None
    warmup_requests: int = 0
    warmup_ns: int = 0
    finds_warmup: bool = False
    ends_ns: int | None = None

    @property
    def total(self) -> int | None:
        """Requests including the warm-up; None if only time ends the load."""
        return None if self.requests is None else self.requests + self.warmup_requests


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShare(RunLength):
    """The share of one worker, and when it ends. `offsets_ns` contains its arrivals (None in a closed loop); the first
    `warmup_requests` of them are warm-up.

    Requests and samples are numbered `worker`, `worker` + `workers`, and so on, so that no two workers send the same
    one.
    """

    worker: int = 0
    workers: int = 1
    users: int | None = None
    cap: int | None = None
    offsets_ns: array[int] | None = None
    until_ns: int | None = None
    """Set if a time limit cut off the dealt arrivals. If the rate rises, further arrivals are sent up to here."""
    most_arrivals: int | None = None
    """The most arrivals, dealt and further ones together; None for no limit."""


@dataclass(frozen=True, slots=True)
class OpenLoopArrivals:
    """All arrivals of an open loop, in ns from the start; the first `warmup` of them are warm-up."""

    offsets_ns: array[int]
    warmup: int

    @property
    def requests(self) -> int:
        """Requests after the warm-up."""
        return len(self.offsets_ns) - self.warmup

    @property
    def busiest(self) -> int:
        """The most arrivals within BUSIEST_S seconds."""
        most = first = 0
        for last, at in enumerate(self.offsets_ns):
            while at - self.offsets_ns[first] > BUSIEST_S * NS_PER_S:
                first += 1
            most = max(most, last - first + 1)
        return most


def part(total: int, worker: int, workers: int) -> int:
    """The worker's part of a whole number of things; the first workers take the remainder."""
    return total // workers + (worker < total % workers)


def draw(offsets: Iterator[int], length: RunLength) -> OpenLoopArrivals:
    """The arrivals of an open loop, up to its length.

    As in dispatch.Stop, the limits count from the first arrival after the warm-up.
    """
    planned = array("q")
    warmup = 0
    run_start: int | None = None
    for offset in offsets:
        if run_start is None:
            if len(planned) < length.warmup_requests or offset < length.warmup_ns:
                planned.append(offset)
                warmup += 1
                continue
            run_start = offset
        if length.duration_ns is not None and offset - run_start >= length.duration_ns:
            break
        planned.append(offset)
        if length.requests is not None and len(planned) - warmup == length.requests:
            break
    return OpenLoopArrivals(planned, warmup)


def deal(
    arrivals: OpenLoopArrivals,
    workers: int,
    cap: int | None,
    ends_ns: int | None = None,
    *,
    until_ns: int | None = None,
    most: int | None = None,
) -> list[WorkerShare]:
    """An open loop's arrivals, dealt out. A cap must be at least the number of workers. `until_ns` and `most` are the
    limits of all arrivals together if the rate changes."""
    planned, warmup = arrivals.offsets_ns, arrivals.warmup
    return [
        WorkerShare(
            worker=k,
            workers=workers,
            requests=len(planned[k::workers]) - len(range(k, warmup, workers)),
            duration_ns=None,  # It has already been applied.
            warmup_requests=len(range(k, warmup, workers)),
            cap=None if cap is None else part(cap, k, workers),
            offsets_ns=array("q", islice(planned, k, None, workers)),
            ends_ns=ends_ns,
            until_ns=until_ns,
            most_arrivals=None if most is None else len(range(k, most, workers)),
        )
        for k in range(workers)
    ]


def divide(users: int, workers: int, length: RunLength) -> list[WorkerShare]:
    """Divide a closed loop's users.

    The warm-up and the requests are divided as evenly as possible together; otherwise the request numbers would have a
    gap.
    """
    total, warmup = length.total, length.warmup_requests
    return [
        WorkerShare(
            worker=k,
            workers=workers,
            requests=None if total is None else part(total, k, workers) - part(warmup, k, workers),
            duration_ns=length.duration_ns,
            warmup_requests=part(warmup, k, workers),
            warmup_ns=length.warmup_ns,
            finds_warmup=length.finds_warmup,
            users=part(users, k, workers),
            ends_ns=length.ends_ns,
        )
        for k in range(workers)
    ]
