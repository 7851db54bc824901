"""Chooses the requests that a report shows one by one: the slowest, the failed, and a sample of all.

The choice depends on their numbers alone, never on the order in which they are added.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.clock import NS_PER_S
from bench.records.record_table import Floats, Ints, RecordTable
from bench.results.base import Result

SLOWEST, FAILED, SAMPLED = 200, 100, 250

_SPREAD = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio. Multiply each index by it modulo 2**64: the indices with the smallest products are
spread evenly over the run."""


class ShownRequest(Result, frozen=True, kw_only=True):
    """A request as shown on a page, with times in s from the start of the run."""

    index: int
    id: str
    outcome: str
    status: int | None
    error: str | None
    intended_s: float
    sent_s: float | None
    first_s: float | None
    end_s: float
    ttft_ms: float | None
    tpot_ms: float | None
    e2el_ms: float | None
    input_tokens: int | None
    output_tokens_asked: int | None
    output_tokens: int | None
    inputs: int | None


class ShownRequests(Result, frozen=True, kw_only=True):
    """Some requests of a run. `failures` is the number of all failed requests."""

    slowest: Sequence[ShownRequest]
    failed: Sequence[ShownRequest]
    failures: int
    sample: Sequence[ShownRequest]


class _Least:
    """The `most` requests with the smallest keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, int, ShownRequest]] = []
        # Rows are not compared: a damaged file may have two with the same index.
        self._order = count()
        self.count = 0

    def offer(self, keys: npt.NDArray[Any], requests: _Rows, rows: Ints) -> None:
        """Add the requests in some rows of a table, with the key of each."""
        self.count += len(rows)
        index = requests.index[rows]
        for at in np.lexsort((index, keys)).tolist():
            key, number = keys[at].item(), int(index[at])
            if len(self._heap) < self._most:
                heapq.heappush(self._heap, (-key, -number, next(self._order), requests.row(int(rows[at]))))
            elif (-key, -number) > self._heap[0][:2]:
                heapq.heapreplace(self._heap, (-key, -number, next(self._order), requests.row(int(rows[at]))))
            else:
                return  # The remaining keys are larger still.

    def rows(self) -> list[ShownRequest]:
        return [row for *_, row in sorted(self._heap, reverse=True)]


class _Rows:
    """The values that a report shows for the requests of a table."""

    def __init__(self, table: RecordTable, values: Mapping[str, Floats], start_ns: int) -> None:
        self._table, self._values, self._start_ns = table, values, start_ns
        self.index = table.ints("index")

    def row(self, row: int) -> ShownRequest:

        def seconds(at_ns: int | None) -> float | None:
            return None if at_ns is None else (at_ns - self._start_ns) / NS_PER_S

        table, record = self._table, self._table.records[row]
        values = {key: self._values[key][row].item() for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
        chunks = table.token_chunks
        return ShownRequest(
            index=record.index,
            id=record.id,
            outcome=str(record.outcome),
            status=record.status,
            error=record.error,
            intended_s=(record.intended_ns - self._start_ns) / NS_PER_S,
            sent_s=seconds(record.sent_ns),
            first_s=seconds(int(chunks.ns[chunks.starts[row]])) if chunks.counts[row] else None,
            end_s=(record.end_ns - self._start_ns) / NS_PER_S,
            **{key: value if value == value else None for key, value in values.items()},
            input_tokens=record.input_tokens_asked if record.input_tokens is None else record.input_tokens,
            output_tokens_asked=record.output_tokens_asked,
            output_tokens=int(chunks.counts[row]) if record.output_tokens is None else record.output_tokens,
            inputs=record.inputs,
        )


class ChosenRequests:
    """Folds the records of the run phase."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._slowest, self._failed, self._sample = _Least(SLOWEST), _Least(FAILED), _Least(SAMPLED)

    def add(self, table: RecordTable, values: Mapping[str, Floats]) -> None:
        """Keep the requests to show from a table whose metrics are `values`."""
        requests = _Rows(table, values, self._start_ns)
        sent = np.flatnonzero(table.has("sent_ns"))
        self._sample.offer(requests.index[sent].astype(np.uint64) * np.uint64(_SPREAD), requests, sent)
        answered = np.flatnonzero(~np.isnan(values["e2el_ms"]))
        self._slowest.offer(-values["e2el_ms"][answered], requests, answered)
        failed = np.flatnonzero(table.failed)
        self._failed.offer(requests.index[failed], requests, failed)

    def describe(self) -> ShownRequests:
        """The slowest requests by E2EL, the others by index."""
        sample = sorted(self._sample.rows(), key=lambda row: row.index)
        return ShownRequests(
            slowest=self._slowest.rows(), failed=self._failed.rows(), failures=self._failed.count, sample=sample
        )
