"""Requests that a report shows one by one: the slowest, those that failed, and a sample of all.

Which ones depends on their own numbers alone, never on the order in which they are added.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.metrics.per_request import NS_PER_S, e2el_ms, first_token, output_tokens, tpot_ms, ttft_ms
from bench.records import Outcome, RequestRecord, from_line

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes
    from bench.run_files.record_blocks import Floats, Ints, PlainBlock

SLOWEST, FAILED, SAMPLED = 200, 100, 250

_SPREAD = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio: the least products of indices with it, modulo 2**64, lie evenly over the run."""

Row = dict[str, Any]


class _Least:
    """The requests with the least keys, `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, int, Row | bytes]] = []
        # Rows are not compared: a damaged file has two of one index.
        self._order = count()
        self.count = 0

    def offer(self, key: float, index: int, row: Callable[[], Row]) -> None:
        self.count += 1
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (-key, -index, -next(self._order), row()))
        elif (-key, -index) > self._heap[0][:2]:
            heapq.heapreplace(self._heap, (-key, -index, -next(self._order), row()))

    def offer_all(self, keys: Floats | Ints, block: PlainBlock) -> None:
        """Those of a block, with the key of each: kept are their lines, of which a row is made in the end."""
        import numpy as np

        self.count += len(block)
        rows = np.lexsort((block.index, keys))[: self._most]
        for row, key, index in zip(rows.tolist(), keys[rows].tolist(), block.index[rows].tolist(), strict=True):
            if len(self._heap) < self._most:
                heapq.heappush(self._heap, (-key, -index, -next(self._order), block.line(row)))
            elif (-key, -index) > self._heap[0][:2]:
                heapq.heapreplace(self._heap, (-key, -index, -next(self._order), block.line(row)))
            else:
                return  # The others are greater still.

    def rows(self) -> list[Row | bytes]:
        return [row for *_, row in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


class ChosenRequests:
    """Folds the records of the run phase."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._slowest, self._failed, self._sample = _Least(SLOWEST), _Least(FAILED), _Least(SAMPLED)

    def add(self, record: RequestRecord) -> None:
        """Keep the request, where it is one to show."""

        def row() -> Row:
            return self._row(record)

        index = record.index
        if record.sent_ns is not None:
            self._sample.offer(index * _SPREAD % 2**64, index, row)
        if record.outcome is Outcome.OK:
            took = e2el_ms(record)
            if took is not None:
                self._slowest.offer(-took, index, row)
        elif record.outcome not in (Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED):
            self._failed.offer(index, index, row)

    def add_block(self, times: BlockTimes) -> None:
        """Keep those requests of a block that are to show."""
        block = times.block
        self._sample.offer_all(block.index.astype("u8") * _SPREAD, block)
        self._slowest.offer_all(-times.metrics["e2el_ms"], block)

    def _rows(self, chosen: _Least) -> list[Row]:
        return [self._row(from_line(row)) if isinstance(row, bytes) else row for row in chosen.rows()]

    def _row(self, record: RequestRecord) -> Row:
        def seconds(at_ns: int | None) -> float | None:
            return None if at_ns is None else (at_ns - self._start_ns) / NS_PER_S

        first = first_token(record)
        return {
            "index": record.index,
            "id": record.id,
            "outcome": str(record.outcome),
            "status": record.status,
            "error": record.error,
            "intended_s": seconds(record.intended_ns),
            "sent_s": seconds(record.sent_ns),
            "first_s": None if first is None else seconds(record.chunk_ns[first]),
            "end_s": seconds(record.end_ns),
            "ttft_ms": ttft_ms(record),
            "tpot_ms": tpot_ms(record),
            "e2el_ms": e2el_ms(record),
            "input_tokens": record.input_tokens_asked if record.input_tokens is None else record.input_tokens,
            "output_tokens_asked": record.output_tokens_asked,
            "output_tokens": output_tokens(record),
            **({} if record.inputs is None else {"inputs": record.inputs}),
        }

    def describe(self) -> dict[str, Any]:
        """`slowest` by E2EL, `failed` and `sample` by index; `failures` is the number of all that failed."""
        return {
            "slowest": self._rows(self._slowest),
            "failed": self._rows(self._failed),
            "failures": self._failed.count,
            "sample": sorted(self._rows(self._sample), key=lambda row: row["index"]),
        }
