"""Chunk gaps and ITL of a whole run, in bounded memory.

Two things are kept. First, a histogram per slice of the run (by time of sending), so that the steady window, which is
known only at the end, can be cut out; slices double in width as the run goes on, so there are never more than 128.
Second, the gaps of up to 2,000 whole requests, for the intervals: tokens of one request resemble each other, so only
requests, not tokens, can be resampled. A hash of their index chooses these requests, so the choice does not depend on
the order of arrival.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from bench.metrics.histogram import LogHistogram
from bench.metrics.loose_gaps import LoosePauses, loose_gaps
from bench.metrics.token_gaps import TokenGaps
from bench.records.record_table import Floats, Ints, Mask, RecordTable

EXACT_LIMIT = 200_000
"""How many values are held before the histograms are folded."""

MAX_SLICES = 128
SAMPLED_REQUESTS = 2_000

_FIRST_WIDTH_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class SampledRequest:
    """The data of one request chosen for the intervals: times in ns, in order of arrival."""

    sent_ns: float
    gaps: array[float]
    itl: array[float]
    tokens: array[int] | None
    """How many tokens have each ITL, because a chunk may contain a million tokens. None: one each."""


class _Slice:
    """Gaps of the requests sent in one slice. Most gaps end with a chunk of one token, so they are also an ITL.

    `loose_gaps` and `loose_itl` contain the gaps with a stamp that is a bound: the value by the stamps, the least, the
    greatest.
    """

    __slots__ = ("gap_only", "itl_only", "loose_gaps", "loose_itl", "shared")

    def __init__(self) -> None:
        self.shared = LogHistogram()
        self.gap_only = LogHistogram()
        self.itl_only = LogHistogram()
        self.loose_gaps = LogHistogram(), LogHistogram(), LogHistogram()
        self.loose_itl = LogHistogram(), LogHistogram(), LogHistogram()

    def parts(self) -> tuple[LogHistogram, ...]:
        return self.shared, self.gap_only, self.itl_only, *self.loose_gaps, *self.loose_itl

    def merge(self, other: _Slice) -> None:
        for mine, theirs in zip(self.parts(), other.parts(), strict=True):
            mine.merge(theirs)


class TokenTimes:
    """Chunk gaps and ITL of the successful requests of a run; `sent_ns` counts from the start of the run."""

    def __init__(self, seed: int, exact_limit: int = EXACT_LIMIT) -> None:
        self._exact_limit = exact_limit
        self._held = 0
        self._slices: dict[int, _Slice] = {}
        self._width_ns = _FIRST_WIDTH_NS
        self._key = seed.to_bytes(16, "big", signed=True)
        # A heap with the greatest hash on top: the request to discard when one with a smaller hash arrives. The third
        # number distinguishes two requests with the same index: requests have no order.
        self._sample: list[tuple[int, int, int, SampledRequest]] = []
        self._chosen = 0
        self.requests = 0

    def add(self, table: RecordTable, of: TokenGaps, start_ns: int) -> None:
        """Add the gaps and the ITL of the sent requests in a table."""
        loose = loose_gaps(table, of)
        sent = table.ints("sent_ns") - start_ns
        gap_starts = of.gaps.starts(len(table))
        rows = np.flatnonzero((np.diff(gap_starts) > 0) & table.has("sent_ns"))
        if not len(rows):
            return
        self.requests += len(rows)
        # In order of sending, so that the rows of a slice are contiguous.
        rows = rows[np.argsort(sent[rows], kind="stable")]
        for sent_ns in sent[rows][_first_of_each(sent[rows] // self._width_ns)].tolist():
            self._slice_of(sent_ns)  # All of them first, because slices may become wider.
        slice_of = sent // self._width_ns
        for key in slice_of[rows][_first_of_each(slice_of[rows])].tolist():
            in_slice = np.zeros(len(table), dtype=np.bool_)
            in_slice[rows] = slice_of[rows] == key
            piece = self._slice_of(key * self._width_ns)
            self._add_pauses(piece, of, in_slice)
            if loose is not None:
                self._add_loose(piece.loose_gaps, loose.gaps, in_slice)
                self._add_loose(piece.loose_itl, loose.itl, in_slice)
            self._fold_if_many(piece)
        closed, by = of.closed
        closed_starts = closed.starts(len(table))
        limit = self._sampled_up_to()
        for row, index in zip(rows.tolist(), table.ints("index")[rows].tolist(), strict=True):
            if self._hash(index) <= limit:
                gaps = _as_array(of.gaps.ns[gap_starts[row] : gap_starts[row + 1]])
                itl, tokens = gaps, None
                if not of.is_itl[row]:
                    span = slice(int(closed_starts[row]), int(closed_starts[row + 1]))
                    itl, tokens = _as_array(closed.ns[span] / by[span]), array("q", by[span].tobytes())
                self._choose(SampledRequest(int(sent[row]), gaps, itl, tokens), index)
                limit = self._sampled_up_to()

    def _add_pauses(self, piece: _Slice, of: TokenGaps, rows: Mask) -> None:
        plain = of.gaps.ns[(rows & of.is_itl)[of.gaps.row]]
        piece.shared.extend(plain)
        self._held += len(plain)
        others = rows & ~of.is_itl
        if not others.any():
            return
        gap_only = of.gaps.ns[others[of.gaps.row]]
        piece.gap_only.extend(gap_only)
        itl_only = of.shared.ns[others[of.shared.row]]
        closed, _ = of.closed
        piece.itl_only.extend(itl_only, int(closed.ns[others[closed.row]].sum()))
        self._held += len(gap_only) + len(itl_only)

    def _add_loose(self, parts: tuple[LogHistogram, LogHistogram, LogHistogram], of: LoosePauses, rows: Mask) -> None:
        values, least, least_sum, most, most_sum = of.of_rows(rows)
        parts[0].extend(values)
        parts[1].extend(least, least_sum)
        parts[2].extend(most, most_sum)
        self._held += 3 * len(values)

    def _slice_of(self, sent_ns: int) -> _Slice:
        key = sent_ns // self._width_ns
        piece = self._slices.get(key)
        return self._new_slice(key) if piece is None else piece

    def _fold_if_many(self, piece: _Slice) -> None:
        if self._held > self._exact_limit:
            for part in piece.parts():
                part.fold()

    def _new_slice(self, key: int) -> _Slice:
        self._slices[key] = _Slice()
        at_ns = key * self._width_ns
        while len(self._slices) > MAX_SLICES:
            self._width_ns *= 2
            merged: dict[int, _Slice] = {}
            for old_key, old in self._slices.items():
                if old_key // 2 in merged:
                    merged[old_key // 2].merge(old)
                else:
                    merged[old_key // 2] = old
            self._slices = merged
        return self._slices[at_ns // self._width_ns]

    def _hash(self, index: int) -> bytes:
        return blake2b(index.to_bytes(8, "big"), digest_size=8, key=self._key).digest()

    def _sampled_up_to(self) -> bytes:
        """The greatest hash with which a request can enter the sample."""
        return (-self._sample[0][0]).to_bytes(8, "big") if len(self._sample) >= SAMPLED_REQUESTS else b"\xff" * 8

    def _choose(self, request: SampledRequest, index: int) -> None:
        rank = -int.from_bytes(self._hash(index), "big")
        self._chosen += 1
        entry = (rank, index, self._chosen, request)
        if len(self._sample) < SAMPLED_REQUESTS:
            heapq.heappush(self._sample, entry)
        else:
            heapq.heapreplace(self._sample, entry)

    def slice_start_ns(self, at_ns: float) -> int:
        """The first border between slices at or after a time: where a window may start."""
        return -(-int(at_ns) // self._width_ns) * self._width_ns

    def gaps(self, from_ns: int | None = None) -> LogHistogram:
        """Chunk gaps of the requests sent at or after a border between slices (without one, of all requests)."""
        return self._merged(from_ns, 0, 1)

    def itl(self, from_ns: int | None = None) -> LogHistogram:
        """ITL of the requests sent at or after a border between slices (without one, of all requests)."""
        return self._merged(from_ns, 0, 2)

    def gaps_between(self, from_ns: int | None = None) -> tuple[LogHistogram, LogHistogram]:
        """The least and the greatest possible chunk gaps."""
        return self._between(self.gaps, 3, from_ns)

    def itl_between(self, from_ns: int | None = None) -> tuple[LogHistogram, LogHistogram]:
        """The least and the greatest possible ITL."""
        return self._between(self.itl, 6, from_ns)

    def _between(
        self, values: Callable[[int | None], LogHistogram], part: int, from_ns: int | None
    ) -> tuple[LogHistogram, LogHistogram]:
        """The values with the loose ones replaced by their least, and by their greatest, possible values."""
        least = values(from_ns)
        least.remove(self._merged(from_ns, part))
        most = least.copy()
        least.merge(self._merged(from_ns, part + 1))
        most.merge(self._merged(from_ns, part + 2))
        return least, most

    def _merged(self, from_ns: int | None, *parts: int) -> LogHistogram:
        result = LogHistogram()
        if self._held > self._exact_limit:
            result.fold()
        for key, piece in self._slices.items():
            if from_ns is None or key * self._width_ns >= from_ns:
                for part in parts:
                    result.merge(piece.parts()[part])
        return result

    def sample(self, from_ns: int | None = None) -> list[SampledRequest]:
        """The requests chosen for the intervals, in the order of sending."""
        rows = sorted((request.sent_ns, index, number, request) for _, index, number, request in self._sample)
        return [request for sent_ns, _, _, request in rows if from_ns is None or sent_ns >= from_ns]


def _first_of_each(ascending: Ints) -> Mask:
    """Whether each number differs from the previous one."""
    return np.append(True, np.diff(ascending) > 0)


def _as_array(ns: Ints | Floats) -> array[float]:
    return array("d", ns.astype(np.float64).tobytes())
