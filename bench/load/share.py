"""Who does what: one load, divided among workers so that together they send exactly it.

An open loop's arrivals are drawn once, from one seed, and dealt out like cards: worker k of N sends arrivals k, k + N, and
so on. (The same process drawn by every worker from one seed makes bursts of N; from N seeds, another process.) A closed
loop's users and requests are divided as evenly as they go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of one worker. `offsets_ns` (closed loop: None) are its arrivals, the first `warmup_requests` warm-up.

    Requests and samples are numbered `worker`, `worker` + `workers`, and so on: no two workers send the same.
    """

    worker: int = 0
    workers: int = 1
    requests: int | None
    duration_ns: int | None
    warmup_requests: int
    warmup_ns: int
    users: int | None = None
    cap: int | None = None
    offsets_ns: array[int] | None = None


def part(total: int, worker: int, workers: int) -> int:
    """The worker's part of a whole number of things: the first ones take what does not divide."""
    return total // workers + (worker < total % workers)


def drawn(
    offsets: Iterator[int],
    *,
    requests: int | None,
    duration_ns: int | None,
    warmup_requests: int,
    warmup_ns: int,
) -> tuple[array[int], int]:
    """All arrivals of an open loop, in ns from the start, and how many of them, from the first, are warm-up.

    The limits mean what they mean in dispatch.Stop: they count from the first arrival after the warm-up.
    """
    planned = array("q")
    warmup = 0
    run_start: int | None = None
    for offset in offsets:
        if run_start is None:
            if len(planned) < warmup_requests or offset < warmup_ns:
                planned.append(offset)
                warmup += 1
                continue
            run_start = offset
        if duration_ns is not None and offset - run_start >= duration_ns:
            break
        planned.append(offset)
        if requests is not None and len(planned) - warmup == requests:
            break
    return planned, warmup


def deal(planned: array[int], warmup: int, workers: int, cap: int | None) -> list[Share]:
    """An open loop's arrivals, dealt out. A cap must be at least the number of workers."""
    return [
        Share(
            worker=k,
            workers=workers,
            requests=len(planned[k::workers]) - len(range(k, warmup, workers)),
            duration_ns=None,  # It has been cut already.
            warmup_requests=len(range(k, warmup, workers)),
            warmup_ns=0,
            cap=None if cap is None else part(cap, k, workers),
            offsets_ns=array("q", islice(planned, k, None, workers)),
        )
        for k in range(workers)
    ]


def divide(
    users: int,
    workers: int,
    *,
    requests: int | None,
    duration_ns: int | None,
    warmup_requests: int,
    warmup_ns: int,
) -> list[Share]:
    """A closed loop's users, divided.

    Warm-up and requests together go as evenly as they can: only then are the numbers of the requests without a gap.
    """
    return [
        Share(
            worker=k,
            workers=workers,
            requests=None
            if requests is None
            else part(warmup_requests + requests, k, workers) - part(warmup_requests, k, workers),
            duration_ns=duration_ns,
            warmup_requests=part(warmup_requests, k, workers),
            warmup_ns=warmup_ns,
            users=part(users, k, workers),
        )
        for k in range(workers)
    ]
