"""When a server became ready, and what was lost until then (`--watch-scale`), from the records alone.

A client cannot observe the moment when a server becomes ready. Two bounds hold whatever the delays are: it was not
ready when the last refused request was *sent* (the refusal was made later), and it was ready when the first answer to a
later request *began to arrive* (the answer was made earlier). With several addresses, each has its own times: an answer
from one says nothing about another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET

from bench.clock import NS_PER_S
from bench.metrics.objectives import Objective, meet_all
from bench.records import NO_FAILURE, Outcome
from bench.records.record_table import Ints, Mask, RecordTable
from bench.results.scaling import LostTime, Scaling

REFUSING = frozenset({429, 502, 503, 504, 529})
"""The statuses of servers that are starting or full, and of the gateways in front of them."""
_UNREACHED = frozenset({Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT})
QUIET_NS = NS_PER_S
"""A good answer ends a lost time if no bad request is sent for this time after its own."""


class _Rows(NamedTuple):
    """Requests, one per entry. `answer_ns`: the first byte of a successful reply, else the end."""

    start_ns: Ints
    answer_ns: Ints
    end_ns: Ints
    good: Mask
    answered: Mask
    refused: Mask
    why: list[str]
    target: list[str | None]

    def of(self, places: Ints) -> _Rows:
        """The requests at these indices."""
        listed = places.tolist()
        columns: list[Any] = [column[places] for column in self[:-2]]
        return _Rows._make([*columns, *([words[n] for n in listed] for words in (self.why, self.target))])


class ScalingTally:
    """Folds records; `close` returns the block for summary.json."""

    def __init__(self, objectives: Sequence[Objective], start_ns: int, *, by_target: bool) -> None:
        """`by_target`: the run loads several addresses."""
        self._objectives, self._start_ns, self._by_target = objectives, start_ns, by_target
        self._rows: list[_Rows] = []

    def add(self, table: RecordTable) -> None:
        """Add records in any order, including the warm-up, because a server may start during it."""
        ends = [outcome is Outcome.OK or outcome not in NO_FAILURE for outcome in table.column("outcome")]
        table = table.where(np.array(ends, dtype=np.bool_))
        if not len(table):
            return
        outcomes, statuses = table.column("outcome"), table.column("status")
        refused = [o in _UNREACHED or s in REFUSING for o, s in zip(outcomes, statuses, strict=True)]
        sent, sent_ns = table.known("sent_ns")
        first, first_ns = table.known("first_byte_ns")
        end_ns = table.ints("end_ns")
        self._rows.append(
            _Rows(
                np.where(sent, sent_ns, table.ints("eligible_ns")),
                np.where(first, first_ns, end_ns),
                end_ns,
                meet_all(table, self._objectives),
                table.ok,
                np.array(refused, dtype=np.bool_) & ~table.ok,
                [str(o if s is None else s) for o, s in zip(outcomes, statuses, strict=True)],
                list(table.column("target")) if self._by_target else [None] * len(table),
            )
        )

    def close(self) -> Scaling:
        """The block for summary.json; without times if every request was good."""
        limits = [str(objective.text) for objective in self._objectives if objective.of_requests]
        if not self._rows:
            return Scaling(limits=limits, times=[], lost_s=0, lost=0, t_s=[], good=[], slow=[], refused=[], failed=[])
        columns: list[Any] = [np.concatenate(parts) for parts in zip(*(rows[:-2] for rows in self._rows), strict=True)]
        columns += [[word for rows in self._rows for word in rows[place]] for place in (-2, -1)]
        rows = _Rows._make(columns).of(np.argsort(columns[0], kind="stable"))
        each = (
            rows.of(np.array([n for n, name in enumerate(rows.target) if name == target]))
            for target in dict.fromkeys(rows.target)
        )
        times = [self._time(group, first, after) for group in each for first, after in _bad_spans(group)]
        times.sort(key=lambda time: time.start_s)
        last_s = self._s(int(rows.end_ns.max()))
        slow = rows.answered & ~rows.good
        seconds = (rows.start_ns - self._start_ns) // NS_PER_S
        first_s = int(seconds.min())
        length = int(seconds.max()) - first_s + 1

        def per_second(which: Mask) -> list[int]:
            counts: list[int] = np.bincount(seconds[which] - first_s, minlength=length).tolist()
            return counts

        return Scaling(
            limits=limits,
            times=times,
            lost_s=_lasted((time.start_s, last_s if time.end_s is None else time.end_s) for time in times),
            lost=int((~rows.good).sum()),
            t_s=list(range(first_s, first_s + length)),
            good=per_second(rows.good),
            slow=per_second(slow),
            refused=per_second(rows.refused),
            failed=per_second(~rows.answered & ~rows.refused),
        )

    def _time(self, rows: _Rows, first: int, after: int) -> LostTime:
        """The lost time whose first request is `first`, and whose next good request is `after`."""
        bad = np.zeros(len(rows.good), dtype=np.bool_)
        bad[first:after] = ~rows.good[first:after]
        refused = np.flatnonzero(bad & rows.refused)
        not_ready_s = ready_s = None
        if len(refused):
            at_ns = rows.start_ns[refused[-1]]
            not_ready_s = self._s(int(at_ns))
            later = rows.answered & (rows.start_ns >= at_ns)
            ready_s = self._s(int(rows.answer_ns[later].min())) if later.any() else None
        slow = int((bad & rows.answered).sum())
        return LostTime(
            start_s=self._s(int(rows.start_ns[first])),
            end_s=self._s(int(rows.answer_ns[after])) if after < len(rows.good) else None,
            lost=int(bad.sum()),
            refused=len(refused),
            failed=int(bad.sum()) - len(refused) - slow,
            slow=slow,
            refusals=dict(sorted(Counter(rows.why[n] for n in refused.tolist()).items())),
            not_ready_s=not_ready_s,
            ready_s=ready_s,
            target=UNSET if (target := rows.target[first]) is None else target,
        )

    def _s(self, at_ns: int) -> float:
        return (at_ns - self._start_ns) / NS_PER_S


def _lasted(spans: Iterable[tuple[float, float]]) -> float:
    """The total length of spans, with overlaps counted once. The spans are ordered by start."""
    lasted, until = 0.0, -math.inf
    for start, end in spans:
        lasted += max(0.0, end - max(start, until))
        until = max(until, end)
    return lasted


def _bad_spans(rows: _Rows) -> list[tuple[int, int]]:
    """The first bad request of each lost time, and the good request that ends it (the number of rows if none does)."""
    spans: list[tuple[int, int]] = []
    for place in np.flatnonzero(~rows.good).tolist():
        if spans and rows.start_ns[place] - rows.start_ns[min(spans[-1][1], len(rows.good) - 1)] < QUIET_NS:
            first = spans[-1][0]
            spans.pop()
        else:
            first = place
        good_behind = np.flatnonzero(rows.good[place:])
        spans.append((first, place + int(good_behind[0]) if len(good_behind) else len(rows.good)))
    return spans
