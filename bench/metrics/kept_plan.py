"""Checks whether the load followed its settings and its changes. Each part between two changes is checked separately.

Open loop: request i is due at arrival i of the plan, which is drawn again, to the nanosecond. No request is missing.
Closed loop: at every moment as many requests are in flight as there are users. A user who leaves finishes a request first,
so more may be in flight after the number falls, but of the requests that began later at most as many as users remain.

In mode sessions the same holds for sessions: session i arrives at arrival i, and the planned number of sessions is live. A
session that the end of the run cut off counts as live until then.

The check uses only the records. If a worker missed a change, made it at another time, or did not record it, an arrival was
not due, or there was a user too many or too few.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.clock import NS_PER_S
from bench.metrics.columns import Columns
from bench.metrics.planned_load import PlannedLoad
from bench.metrics.session_counts import SessionCounts
from bench.results.load import OffPlan

ARRIVALS, USERS = "arrivals", "users"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """The required load, part by part. Times are in ns from the start of the run.

    `arrivals`: the arrivals of an open loop, from the first of the warm-up on; None for a closed loop. `whole`: the
    load reached its end, so missing requests were left out. `of_sessions`: the plan is for sessions, not for requests.
    """

    parts: tuple[PlannedLoad, ...]
    arrivals: Callable[[], Iterator[int]] | None
    whole: bool
    of_sessions: bool = False


@dataclass(frozen=True, slots=True)
class _PartOff:
    """How much of a part was not as planned: a share of its arrivals, or of its users' time."""

    part: PlannedLoad
    share: float


def describe(
    plan: KeptPlan | None,
    columns: Columns,
    spans: Sequence[tuple[Sequence[int], Sequence[int]]],
    start_ns: int,
    sessions: SessionCounts,
) -> OffPlan | None:
    """`off_plan` of a summary: the part furthest from the plan. None if nothing could change the load, or nothing was
    sent.

    `spans`: when requests were in flight, for each worker, in absolute ns; the run began at `start_ns`.
    """
    if plan is None or not len(columns):
        return None
    if plan.arrivals is None:
        parts = list(_users_off(plan.parts, sessions.spans() if plan.of_sessions else spans, start_ns))
    elif plan.of_sessions:
        begins, until_ns = sessions.begins(start_ns)
        parts = list(_arrivals_off(plan, plan.arrivals(), begins, until_ns)) if begins else []
    else:
        parts = list(_arrivals_off(plan, plan.arrivals(), dict(zip(columns.index, columns.intended, strict=True))))
    worst = max(parts, key=lambda off: off.share, default=None)
    if worst is None:
        return None
    last_ns = max(columns.intended)
    return OffPlan(
        of=USERS if plan.arrivals is None else ARRIVALS,
        share=worst.share,
        start_s=worst.part.start_ns / NS_PER_S,
        end_s=min(worst.part.end_ns, last_ns) / NS_PER_S,
    )


def _arrivals_off(
    plan: KeptPlan, arrivals: Iterator[int], rows: Mapping[int, float], until_ns: float = math.inf
) -> Iterator[_PartOff]:
    """`rows`: when the requests, or sessions, with these numbers arrived. Those due after `until_ns` may be missing."""
    borders = [part.start_ns for part in plan.parts]
    wrong, due = [0] * len(borders), [0] * len(borders)
    first, last = min(rows), max(rows)
    for index, planned_ns in enumerate(arrivals):
        if index > last:
            break
        if index < first:
            continue
        part = max(bisect_right(borders, planned_ns) - 1, 0)
        actual_ns = rows.get(index)
        due[part] += 1
        wrong[part] += (plan.whole and planned_ns <= until_ns) if actual_ns is None else actual_ns != planned_ns
    return (_PartOff(p, bad / n) for p, bad, n in zip(plan.parts, wrong, due, strict=True) if n)


def _users_off(
    parts: Iterable[PlannedLoad], spans: Sequence[tuple[Sequence[int], Sequence[int]]], start_ns: int
) -> Iterator[_PartOff]:
    if not spans or not all(len(begins) for begins, _ in spans):
        return
    # After a worker has begun its last request, nothing more is known about it: no user waits for the next request.
    until_ns = min(max(begins) for begins, _ in spans) - start_ns
    whole = sorted((begin - start_ns, end - start_ns) for row in spans for begin, end in zip(*row, strict=True))
    begins = array("q", (begin for begin, _ in whole))
    going_on: list[int] = []
    at = 0
    for part in parts:
        first, last = bisect_left(begins, part.start_ns), bisect_left(begins, part.end_ns)
        going_on = [end for end in [*going_on, *(end for _, end in whole[at:first])] if end > part.start_ns]
        part_ends = sorted(end for _, end in whole[first:last])
        end_ns = min(part.end_ns, until_ns)
        if end_ns > part.start_ns:
            users, came = round(part.first), begins[first:last]
            ends = sorted([*going_on, *part_ends])
            missing = _area(came, ends, len(going_on), part.start_ns, end_ns, users, -1)
            too_many = _area(came, part_ends, 0, part.start_ns, end_ns, users, 1)
            yield _PartOff(part, (missing + too_many) / (users * (end_ns - part.start_ns)))
        going_on, at = [*going_on, *part_ends], last


def _area(
    begins: Sequence[int], ends: Sequence[int], at_first: int, start_ns: int, end_ns: int, users: int, sign: int
) -> int:
    """The area between requests in flight and users, in ns, while there are more (`sign` 1) or fewer (-1) requests than
    users.

    Begins and ends ascend; `at_first` requests are in flight at the start.
    """
    total, n, now_ns = 0, at_first, start_ns
    i = j = 0
    while True:
        begin_ns = begins[i] if i < len(begins) else end_ns
        ended_ns = ends[j] if j < len(ends) else end_ns
        then_ns = min(begin_ns, ended_ns, end_ns)
        total += max(0, sign * (n - users)) * (then_ns - now_ns)
        now_ns = then_ns
        if then_ns >= end_ns:
            return total
        if ended_ns <= begin_ns:
            n, j = n - 1, j + 1
        else:
            n, i = n + 1, i + 1
