"""Compares the replicas of a run: shares, latencies, failures (bench/statistics/skew.py has the tests)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from bench.clock import NS_PER_S
from bench.metrics.arrays import known, view
from bench.metrics.by_part import OTHERS, USUAL
from bench.metrics.columns import NO_RESPONSE, Columns
from bench.records.record_table import Floats, Mask, RecordTable
from bench.results.summary import SlowerTarget, TargetGone, TargetNumbers
from bench.statistics import skew
from bench.statistics.multiple import holm

GONE_REPLICA = 3
"""This many lost requests in a row, up to the end, show that a replica is gone; it then receives hardly any more
(LOST_IN_A_ROW)."""
_UNNAMED = (USUAL["target"], OTHERS)
LONGER = 0.01
"""Longer prompts or replies count if equal replicas would get them with a lower probability than this."""
_LATENCIES = ("ttft_ms", "tpot_ms")
_WHOLE = ("e2el_ms",)


class TargetShares:
    """What a router has assigned to each replica: sessions, and requests without a session."""

    def __init__(self) -> None:
        self._assigned: dict[str | None, set[tuple[str, int | str]]] = {}

    def add(self, table: RecordTable) -> None:
        """Add records, in any order."""
        for record in table.records:
            unit: tuple[str, int | str] = ("request", record.index)
            if record.session_number is not None:
                unit = ("number", record.session_number)
            elif record.session is not None:
                unit = ("session", record.session)
            self._assigned.setdefault(record.target, set()).add(unit)

    def counts(self, names: Sequence[str]) -> list[int]:
        """The numbers assigned to these replicas."""
        return [len(self._assigned.get(name, ())) for name in names]


def alone(columns: Columns) -> dict[str, Any]:
    """The further numbers of a replica, before it is compared with others."""
    return {
        "share": None,
        "share_p": None,
        "slower": (),
        "others_error_rate": None,
        "failures_p": None,
        "gone": _gone(columns),
    }


def _gone(columns: Columns) -> TargetGone | None:
    """Whether all requests due after the last answered request got no answer.

    Requests are ordered by due time, not by their ends: a server that stops listening may still answer requests in
    flight after it has refused others.
    """
    status, due = view(columns.status), view(columns.intended)
    answered = status > NO_RESPONSE
    lost = (status == NO_RESPONSE) & (view(columns.failed) != 0)
    last_due = due[answered].max() if answered.any() else -np.inf
    requests = int((lost & (due > last_due)).sum())
    if requests < GONE_REPLICA:
        return None
    since_s = float(view(columns.end)[answered].max()) / NS_PER_S if answered.any() else None
    return TargetGone(since_s=since_s, requests=requests)


def compared(
    parts: Sequence[TargetNumbers], columns: Mapping[str, Columns], assigned: TargetShares | None
) -> list[TargetNumbers]:
    """The numbers, with the comparisons of the replicas. `assigned` is given behind a router."""
    parts = [part for part in parts if part.name not in _UNNAMED or part.sent]
    named = [part for part in parts if part.name not in _UNNAMED]
    sent = sum(part.sent for part in parts)
    rows = {part.name: replace(part, share=part.sent / sent if sent else None) for part in parts}
    if len(named) > 1:
        names = [part.name for part in named]
        shares = [None] * len(named) if assigned is None else _shares(assigned.counts(names))
        failures = holm([_failures(part, named) for part in named])
        alive = [part.name for part in named if part.gone is None]
        slower = dict(zip(alive, _slower([columns[name] for name in alive]), strict=True))
        for name, part, share_p, failures_p in zip(names, named, shares, failures, strict=True):
            tried = sum(other.succeeded + other.failed for other in named if other is not part)
            failed = sum(other.failed for other in named if other is not part)
            rows[name] = replace(
                rows[name],
                share_p=share_p,
                slower=slower.get(name, ()),
                failures_p=failures_p,
                others_error_rate=failed / tried if tried else None,
            )
    return list(rows.values())


def _shares(counts: Sequence[int]) -> Sequence[float | None]:
    """For each replica, the probability of its count or a larger one; 1 for all if the counts together are likely."""
    whole = sum(counts)
    overall = skew.chi_square(counts)
    tails = holm([skew.binomial_tail(count, whole, 1 / len(counts)) for count in counts])
    return [max(overall, tail) for tail in tails]


def _failures(part: TargetNumbers, named: Sequence[TargetNumbers]) -> float:
    others = [other for other in named if other is not part]
    return skew.fisher(
        part.failed,
        part.succeeded + part.failed,
        sum(other.failed for other in others),
        sum(other.succeeded + other.failed for other in others),
    )


def _slower(columns: Sequence[Columns]) -> list[list[SlowerTarget]]:
    """For each replica, its latencies compared with those of the others."""
    tested: list[tuple[str, list[skew.Slower | None]]] = []
    keys = _LATENCIES if all(len(known(view(replica.metrics["ttft_ms"]))) for replica in columns) else _WHOLE
    for key in keys:
        tested.append((key, _tested(columns, [view(replica.metrics[key]) for replica in columns])))
    longer = _longer(columns)
    ps = iter(holm([1.0 if row is None else row.p for _, rows in tested for row in rows]))
    by_replica: list[list[SlowerTarget]] = [[] for _ in columns]
    for key, rows in tested:
        for at, row in enumerate(rows):
            p = next(ps)
            if row is not None:
                by_replica[at].append(
                    SlowerTarget(metric=key, change=row.change, ci95=[row.low, row.high], p=p, longer=longer[at])
                )
    return by_replica


def _tested(columns: Sequence[Columns], values: Sequence[Floats]) -> list[skew.Slower | None]:
    """A number of each replica's requests, compared with the others' over the time of sending."""
    series = []
    for replica, of_one in zip(columns, values, strict=True):
        sent = view(replica.sent)
        has: Mask = (sent == sent) & (of_one > 0)
        series.append((sent[has], of_one[has]))
    return skew.slower(series)


def _longer(columns: Sequence[Columns]) -> list[float | None]:
    """How much longer the prompts or replies of each replica are than the others', whichever is more. A replica may
    have long sessions, or every second row of the data."""
    lengths = [_tested(columns, [view(of(replica)) for replica in columns]) for of in (_prompts, _replies)]
    return [
        max((row.change for row in rows if row is not None and row.change > 0 and row.p < LONGER), default=None)
        for rows in zip(*lengths, strict=True)
    ]


def _prompts(columns: Columns) -> array[float]:
    return columns.input_tokens


def _replies(columns: Columns) -> array[float]:
    return columns.output_tokens
