"""The load on the server: in flight, sent against planned, waits at the cap, and Little's law."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from math import fsum

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics import kept_plan
from bench.metrics.arrays import sum_of_squares, view
from bench.metrics.columns import Columns, happened
from bench.metrics.facts import RunFacts
from bench.metrics.instrument import WorkerSamples
from bench.metrics.quantile import describe
from bench.metrics.request_metrics import send_lateness_ms
from bench.metrics.session_counts import SessionCounts
from bench.records import RequestRecord
from bench.records.record_table import RecordTable
from bench.results.load import Backlog, LateEnds, LittlesLaw, Load, NeverSent, ReadyNotSent, WaitedAtCap
from bench.results.numbers import PlanAgainstSent
from bench.statistics import keeps_up

_SLOT_ARRIVALS = 10
_MIN_SLOTS = 10
_NO_DISPERSION = 0.01


class Spans:
    """The time from `eligible` to the end of every tried request, in each phase and with each outcome, by worker, in
    absolute ns.

    The dispatcher also counts a request from `eligible` on.
    """

    def __init__(self) -> None:
        self._by_worker: dict[int, tuple[array[int], array[int]]] = {}

    def add(self, table: RecordTable) -> None:
        """Keep the times when requests were in flight."""
        has_eligible, eligible_ns = table.known("eligible_ns")
        workers, end_ns = table.ints("worker"), table.ints("end_ns")
        for worker in set(table.column("worker")):
            begins, ends = self._by_worker.setdefault(worker, (array("q"), array("q")))
            rows = (workers == worker) & has_eligible
            begins.frombytes(eligible_ns[rows].tobytes())
            ends.frombytes(end_ns[rows].tobytes())

    def mean(self, start_ns: float, end_ns: float, worker: int | None = None) -> float:
        """Time-weighted mean number in flight within a window: the overlap with the window, divided by its length."""
        workers = self._by_worker if worker is None else self._by_worker.keys() & {worker}
        inside = fsum(overlap_ns(*self._by_worker[number], start_ns, end_ns) for number in workers)
        return inside / (end_ns - start_ns)

    def count(self, workers: Iterable[int]) -> int:
        """The number of requests of these workers."""
        return sum(len(self._by_worker[number][0]) for number in self._by_worker.keys() & set(workers))

    def of_workers(self) -> list[tuple[array[int], array[int]]]:
        """Begins and ends, for each worker."""
        return list(self._by_worker.values())

    def most(self) -> int:
        """The greatest number in flight at one time."""
        spans = self._by_worker.values()
        begins, ends = array("q"), array("q")
        for of_worker in spans:
            begins += of_worker[0]
            ends += of_worker[1]
        return most_at_once(begins, ends)


class Readiness:
    """Closed loops: how long users were free while their next request was not sent, because of the client.

    A wait is sent - intended - connect, like `send_lateness_ms` in a closed loop. A user's time is the time of its
    requests from intended to end, and within a session also the think times. Sub-agents that wait at the same time
    count as separate users; otherwise the share could exceed 1. The run begins with its first send, like its duration,
    so a late start of all users is not a wait.
    """

    def __init__(self) -> None:
        self._intended, self._waits = array("q"), array("q")
        self._requests_ns = 0
        self._first_sent_ns: int | None = None
        self._sessions: dict[str | int, tuple[int, int, int]] = {}
        """When each began and ended, and the time of its requests together."""

    def add(self, table: RecordTable) -> None:
        """Add requests of a closed loop."""
        intended_ns, end_ns = table.ints("intended_ns"), table.ints("end_ns")
        in_session = table.has("session")
        self._requests_ns += int((end_ns - intended_ns)[~in_session].sum())
        for row in np.flatnonzero(in_session).tolist():
            self._add_to_session(table.records[row])
        lateness_ms = send_lateness_ms(table)
        rows = ~np.isnan(lateness_ms)
        if not rows.any():
            return
        self._intended.frombytes(intended_ns[rows].tobytes())
        waits = np.maximum(0, np.rint(lateness_ms[rows] * NS_PER_MS))
        self._waits.frombytes(waits.astype(np.int64).tobytes())
        first_ns = int(table.ints("sent_ns")[rows].min())
        self._first_sent_ns = first_ns if self._first_sent_ns is None else min(first_ns, self._first_sent_ns)

    def _add_to_session(self, record: RequestRecord) -> None:
        assert record.session is not None
        # A session of a file that is held again has the same name, but its own number.
        key = record.session if record.session_number is None else record.session_number
        first, last, spent = self._sessions.get(key, (record.intended_ns, record.end_ns, 0))
        spent += record.end_ns - record.intended_ns
        self._sessions[key] = min(first, record.intended_ns), max(last, record.end_ns), spent

    @property
    def user_ns(self) -> int:
        return self._requests_ns + sum(max(last - first, spent) for first, last, spent in self._sessions.values())

    def describe(self) -> ReadyNotSent | None:
        """`ready_not_sent` of a summary. Returns None without a request.

        `share` is a share of the users' time. `typical_ms` is the mean length of the wait that contains a random
        instant of waiting: the sum of squares divided by the sum. A thousand waits of 0.1 ms do not hide one of 3 s.
        """
        user_ns, first_ns = self.user_ns, self._first_sent_ns
        if first_ns is None or user_ns <= 0:
            return None
        begin, wait = view(self._intended), view(self._waits)
        waits = np.maximum(0, wait - np.maximum(0, first_ns - begin))
        total = int(waits.sum())
        return ReadyNotSent(
            share=total / user_ns,
            typical_ms=sum_of_squares(waits) / total / NS_PER_MS if total else 0.0,
            longest_ms=int(waits.max()) / NS_PER_MS,
        )


def overlap_ns(begins: Iterable[float], ends: Iterable[float], start_ns: float, end_ns: float) -> float:
    """The time that [begin, end] spans spend inside a window, summed over them."""
    inside = np.minimum(np.asarray(ends), end_ns) - np.maximum(np.asarray(begins), start_ns)
    return fsum(np.maximum(inside, 0.0).tolist())


def most_at_once(begins: Iterable[float], ends: Iterable[float]) -> int:
    """The greatest number of [begin, end) spans that overlap at one time."""
    begun, ended = np.sort(np.asarray(begins)), np.sort(np.asarray(ends))
    # At each begin: the number that have begun, minus the number that have ended.
    there = np.arange(1, len(begun) + 1) - np.searchsorted(ended, begun, side="right")
    return int(there.max(initial=0))


def rate(times_ns: Sequence[float]) -> float | None:
    """Events per second over their own span: n - 1 gaps, from the first to the last."""
    if len(times_ns) < 2:
        return None
    span = max(times_ns) - min(times_ns)
    return (len(times_ns) - 1) / span * NS_PER_S if span > 0 else None


def dispersion(times_ns: Sequence[float], plan_ns: Sequence[float]) -> float | None:
    """Variance over mean of the counts in slots of ten mean gaps of the plan: 1 for Poisson, 0 for a metronome.

    The slots begin half a gap before the first arrival, so that a metronome's arrivals lie between their borders. None
    if the plan fills fewer than ten slots.
    """
    if len(plan_ns) < _SLOT_ARRIVALS * _MIN_SLOTS:
        return None
    first, last = min(plan_ns), max(plan_ns)
    gap = (last - first) / (len(plan_ns) - 1)
    if gap <= 0:
        return None
    origin, width = first - gap / 2, _SLOT_ARRIVALS * gap
    slots = int((last - origin) // width)
    counted = Counter(int((at - origin) // width) for at in times_ns)
    counts = [counted[slot] for slot in range(slots)]
    mean = sum(counts) / slots
    return sum((x - mean) ** 2 for x in counts) / (slots - 1) / mean if mean else None


def describe_load(
    facts: RunFacts,
    columns: Columns,
    spans: Spans,
    samples: WorkerSamples,
    readiness: Readiness,
    sessions: SessionCounts,
) -> Load:
    """`load` of a summary. Means in flight cover the whole run, from the first send to the last end."""
    sent = happened(columns.sent)
    mean = None
    if sent and max(columns.end) > min(sent):
        mean = spans.mean(min(sent) + facts.start_ns, max(columns.end) + facts.start_ns)
    return Load(
        mode=facts.mode,
        offered_rps=facts.offered_rps,
        achieved_rps=None if _at_once(facts, columns.intended, len(sent), spans.most()) else rate(sent),
        concurrency=facts.concurrency,
        max_concurrency=facts.max_concurrency,
        concurrency_mean=mean,
        concurrency_max=spans.most(),
        plan=plan_against_sent(list(columns.intended), sent) if facts.open_loop else None,
        off_plan=kept_plan.describe(facts.kept_plan, columns, spans.of_workers(), facts.start_ns, sessions),
        waited_at_cap=_waits(columns) if facts.open_loop and facts.max_concurrency is not None else None,
        ready_not_sent=None if facts.open_loop else readiness.describe(),
        never_sent=_never_sent(facts, readiness.user_ns, len(columns), sessions),
        late_ends=_late_ends(columns),
        backlog=backlog(facts, columns, sessions),
        littles_law=_littles_law(spans, samples),
    )


def _late_ends(columns: Columns) -> LateEnds | None:
    """`late_ends` of a summary: end - sent - E2EL, for the successful requests."""
    e2el_ms = view(columns.metrics["e2el_ms"])
    rows = np.frombuffer(columns.ok, dtype=bool) & (e2el_ms > 0)
    total_ms = float(e2el_ms[rows].sum())
    if not total_ms:
        return None
    open_ms = float(np.maximum((view(columns.end) - view(columns.sent))[rows] / NS_PER_MS - e2el_ms[rows], 0.0).sum())
    return LateEnds(mean_ms=open_ms / int(rows.sum()), share=open_ms / total_ms)


def piles_up(facts: RunFacts, columns: Columns, trend: Backlog | None) -> bool:
    """Whether a longer run would have longer latencies: its requests pile up (`trend`), or all are sent at once."""
    if facts.mode == "throughput":
        return facts.max_concurrency is None
    if facts.open_loop and len(columns) > 1 and rate(columns.intended) is None:
        return True
    return trend is not None and trend.rises


def backlog(facts: RunFacts, columns: Columns, sessions: SessionCounts) -> Backlog | None:
    """`backlog` of a summary."""
    of = {"rate": "requests", "trace": "requests", "sessions": "sessions"}.get(facts.mode)
    if of is None or not facts.open_loop or facts.segments or facts.ramp_s:
        return None
    due_s, end_s = view(columns.intended) / NS_PER_S, view(columns.end) / NS_PER_S
    # A request that was never sent ends when the sending stops, however long it would still have waited.
    sent = ~np.isnan(view(columns.sent))
    grown = keeps_up.growth(due_s[sent], (end_s - due_s)[sent])
    if of == "sessions":
        due_s, end_s = sessions.times_s()
    trend = keeps_up.backlog(due_s, end_s, grown, even=facts.mode != "trace")
    if trend is None:
        return None
    return Backlog(of=of, first=trend.first, last=trend.last, e2el_growth=trend.growth, rises=trend.rises)


def _never_sent(facts: RunFacts, user_ns: int, requests: int, sessions: SessionCounts) -> NeverSent | None:
    """`never_sent` of a summary. Returns None if unknown."""
    if facts.never_sent is None:
        return None
    n, waited_ns = facts.never_sent
    if facts.open_loop:
        came = sum(len(begins) for begins, _ in sessions.spans()) if facts.mode == "sessions" else requests
        lost, had = n, came
    else:
        lost, had = waited_ns, user_ns
    return NeverSent(n=n, share=lost / (lost + had) if lost else 0.0)


def _at_once(facts: RunFacts, intended: Sequence[float], sent: int, in_flight: int) -> bool:
    """Whether no send waited for a response or for its time. The speed of our own loop is not a rate."""
    if facts.open_loop:
        return rate(intended) is None
    if facts.ramp_s or facts.segments:
        return False
    # Each user sends one request at once; in a session, the later requests wait.
    users = facts.concurrency if facts.concurrency is not None and facts.mode != "sessions" else 0
    return sent <= max(in_flight, users)


def plan_against_sent(intended: Sequence[float], sent: Sequence[float]) -> PlanAgainstSent:
    """Was the load sent as drawn? Rates over the spans of both; dispersion of the counts per 10/rate."""
    planned_rps, sent_rps = rate(intended), rate(sent)
    planned, done = (dispersion(times, intended) for times in (intended, sent))
    return PlanAgainstSent(
        planned_rps=planned_rps,
        sent_rps=sent_rps,
        rate_difference=sent_rps / planned_rps - 1 if planned_rps and sent_rps else None,
        span_difference_ms=_span_difference_ms(intended, sent),
        dispersion_planned=planned,
        dispersion_sent=done,
        # The summand keeps the ratio of two metronomes at 1 if neither has any dispersion.
        dispersion_ratio=None
        if planned is None or done is None
        else (done + _NO_DISPERSION) / (planned + _NO_DISPERSION),
    )


def _span_difference_ms(intended: Sequence[float], sent: Sequence[float]) -> float | None:
    """How much longer the sends took than the plan allows for the same number."""
    planned_rps, sent_rps = rate(intended), rate(sent)
    if not planned_rps or not sent_rps:
        return None
    return (len(sent) - 1) * (1 / sent_rps - 1 / planned_rps) * NS_PER_S / NS_PER_MS


def _waits(columns: Columns) -> WaitedAtCap:
    """The arrivals that waited for a slot under the cap."""
    rows = zip(columns.eligible, columns.intended, strict=True)
    waits = [(eligible - intended) / NS_PER_MS for eligible, intended in rows if eligible > intended]
    return WaitedAtCap(
        n=len(waits),
        share=len(waits) / len(columns) if len(columns) else None,
        wait_ms=describe(sorted(waits)),
    )


def _littles_law(spans: Spans, samples: WorkerSamples) -> LittlesLaw:
    """Mean in flight as counted by the dispatchers, and computed from the records for the same windows.

    Each worker's window goes from its first sample, when nothing was in flight yet, to its last sample, when nothing
    was in flight any more; the means are summed over the workers. (From the records alone, Little's law is an identity
    and proves nothing.)
    """
    dispatcher = samples.in_flight_mean()
    records = difference = None
    if dispatcher is not None:
        records = fsum(spans.mean(start, end, worker) for worker, (start, end) in samples.windows().items())
        difference = records / dispatcher - 1 if dispatcher else None
    sent = samples.sent()
    return LittlesLaw(
        dispatcher_mean=dispatcher,
        records_mean=records,
        difference=difference,
        dispatched=sent,
        records=None if sent is None else spans.count(samples.windows()),
    )
