"""Checks whether every arrival of an open loop was due as scheduled. The schedule is drawn again, from the rate and the
seed.

A dispatcher that lets arrivals slip, and records the time of sending as the due time, looks right by its own records.
The schedule shows the slip: request i of a run, including the warm-up, is due at the start plus offset i, to the
nanosecond.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from bench.clock import NS_PER_MS
from bench.records import RequestRecord
from bench.results.certificate import CauseRow

SAME_IN_EACH_WORKER = "every worker draws the same arrivals, from one seed, so that they come in bursts"
GATED = "the cap on concurrency sets the rate: a request becomes due when another one ends"
ADDS_UP = "delays add up: it waits for so long after each send, and not until the next is due"
ANOTHER_PLAN = "another schedule was drawn"

_MOST_WITHOUT_A_RECORD = 1_000_000
"""The most planned arrivals to draw, in addition to ten per record: if a cap holds a load back, many have no record."""
_AFTER_AN_END_NS = 100_000
"""An arrival this soon after another request's end was caused by it."""


@dataclass(frozen=True, slots=True)
class Slip:
    """Arrivals that were not due as planned: a sentence, and the likely cause."""

    problem: str
    cause: CauseRow


class PlannedArrivals:
    """Compares the arrivals of an open loop with the schedule, an endless iterator of due times."""

    def __init__(self, due_ns: Iterator[int]) -> None:
        self._due_ns = due_ns
        self._seen: list[tuple[int, int, int, int]] = []

    def add(self, record: RequestRecord) -> None:
        """Add a record, in any order and of any phase."""
        self._seen.append((record.index, record.intended_ns, record.end_ns, record.worker))

    def slip(self) -> Slip | None:
        """The difference from the schedule; None if every arrival was due as planned."""
        arrivals = sorted(self._seen)
        if not arrivals:
            return None
        # A damaged index can have any size.
        planned = list(islice(self._due_ns, min(arrivals[-1][0] + 1, _MOST_WITHOUT_A_RECORD + 10 * len(arrivals))))
        late_ns = [due - planned[index] if index < len(planned) else None for index, due, _, _ in arrivals]
        off = [ns for ns in late_ns if ns is None or ns]
        if not off:
            return None
        known = [ns for ns in late_ns if ns is not None]
        worst_ms = max(known, key=abs, default=0) / NS_PER_MS
        many = f"{len(off):,} of {len(arrivals):,} arrivals"
        problem = f"{many} were not due when the drawn plan says, up to {worst_ms:+,.3f} ms off"
        sentence = self._cause(arrivals, known)
        return Slip(problem, CauseRow(metric="arrivals", stat="max", size=worst_ms, unit="ms", cause=sentence))

    def _cause(self, arrivals: list[tuple[int, int, int, int]], late_ns: list[int]) -> str:
        workers = Counter(due for due, _ in {(due, worker) for _, due, _, worker in arrivals})
        if sum(n for n in workers.values() if n > 1) > len(arrivals) / 2:
            return SAME_IN_EACH_WORKER
        ends = sorted(end for _, _, end, _ in arrivals)
        late = [due for (_, due, _, _), ns in zip(arrivals, late_ns, strict=False) if ns > 0]
        after_an_end = 0
        for due in late:
            before = bisect_right(ends, due) - 1
            after_an_end += before >= 0 and due - ends[before] < _AFTER_AN_END_NS
        if after_an_end > len(late) / 2:
            return GATED
        rising = sum(b >= a for a, b in pairwise(late_ns))
        if late_ns[-1] > 0 and rising > 0.9 * (len(late_ns) - 1):
            return ADDS_UP
        return ANOTHER_PLAN
