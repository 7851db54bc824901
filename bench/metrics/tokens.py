"""What lies between tokens: chunk gaps and ITL of a whole run, in bounded memory.

Two things are kept. A histogram a slice of the run (by the time of sending), so that the steady window, which is known
only at the end, can be cut out; slices double in width as the run goes on, so there are never more than 128. And the
gaps of up to 2,000 whole requests, for the intervals: tokens of one request resemble each other, so that only requests,
not tokens, can be resampled. Which requests is decided by a hash of their index: the same ones in any order of arrival.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from bench.metrics.bounds import LooseTimes
from bench.metrics.histogram import LogHistogram

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes

EXACT_LIMIT = 200_000
"""Values held before the histograms are folded."""

MAX_SLICES = 128
SAMPLED_REQUESTS = 2_000

_FIRST_WIDTH_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class SampledRequest:
    """The samples of one request that was chosen for the intervals: times in ns, in order of arrival."""

    sent_ns: float
    gaps: array[float]
    itl: array[float]


class _Slice:
    """Gaps of the requests sent in one slice. Most gaps end with a chunk of one token and are an ITL as they stand.

    `loose_gaps` and `loose_itl` hold those of which a stamp is a bound: as the stamps give them, at least, at most.
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
        self._folded = False
        self._slices: dict[int, _Slice] = {}
        self._width_ns = _FIRST_WIDTH_NS
        self._key = seed.to_bytes(16, "big", signed=True)
        # A heap with the greatest hash on top: the request to give up when one with a smaller hash comes.
        # The third number tells two of one index apart: requests have no order.
        self._sample: list[tuple[int, int, int, SampledRequest]] = []
        self._chosen = 0
        self.requests = 0

    def add(
        self,
        index: int,
        sent_ns: int,
        gaps: Sequence[int],
        itl: Sequence[float] | None,
        loose: LooseTimes | None = None,
    ) -> None:
        """The samples of a request, in ns. `itl` is None where each gap is one token's, `loose` where stamps are exact."""
        self.requests += 1
        piece = self._slice_of(sent_ns)
        if itl is None:
            piece.shared.extend(gaps)
            self._held += len(gaps)
        else:
            piece.gap_only.extend(gaps)
            piece.itl_only.extend(itl)
            self._held += len(gaps) + len(itl)
        self._add_loose(piece, loose)
        self._fold_if_many(piece)
        self._choose(index, sent_ns, gaps, itl)

    def add_block(self, times: BlockTimes) -> None:
        """The samples of the records of a block, whose gaps are each one token's."""
        import numpy as np

        from bench.metrics.loose_block import loose_block

        sizes = times.block.tokens - 1
        ends = np.cumsum(sizes)
        rows = np.flatnonzero(sizes > 0)
        if not len(rows):
            return
        self.requests += len(rows)
        # In order of sending, so that the gaps of a slice are one piece of the array.
        rows = rows[np.argsort(times.sent[rows], kind="stable")]
        sent = times.sent[rows]
        for sent_ns in sent[np.append(True, np.diff(sent // self._width_ns) > 0)].tolist():
            self._slice_of(sent_ns)
        each = [
            times.gaps[end - size : end] for end, size in zip(ends[rows].tolist(), sizes[rows].tolist(), strict=True)
        ]
        gaps, up_to = np.concatenate(each), np.cumsum(sizes[rows])
        begin = 0
        for last in [*np.flatnonzero(np.diff(sent // self._width_ns)).tolist(), len(rows) - 1]:
            piece, end = self._slice_of(int(sent[last])), int(up_to[last])
            piece.shared.extend_array(gaps[begin:end])
            begin = end
        self._held += begin
        if (loose := loose_block(times)) is not None:
            gap_slices, stretch_slices = (times.sent[r] // self._width_ns for r in (loose.gap_row, loose.stretch_row))
            for key in sorted(set(stretch_slices.tolist())):  # numpy's `unique` would import masked arrays, in 12 ms.
                piece = self._slice_of(key * self._width_ns)
                values, least, least_sum, most, most_sum = loose.of_rows(gap_slices == key, stretch_slices == key)
                for open_part, least_part, most_part in (piece.loose_gaps, piece.loose_itl):
                    open_part.extend_array(values)
                    least_part.extend_floats(least, least_sum)
                    most_part.extend_floats(most, most_sum)
                self._held += 6 * len(values)
        for sent_ns in sent[np.append(True, np.diff(sent // self._width_ns) > 0)].tolist():
            self._fold_if_many(self._slice_of(sent_ns))
        limit = self._sampled_up_to()
        for index, sent_ns, own in zip(times.block.index[rows].tolist(), sent.tolist(), each, strict=True):
            if self._hash(index) <= limit:
                self._choose(index, sent_ns, array("d", own.astype("d").tobytes()), None)
                limit = self._sampled_up_to()

    def _slice_of(self, sent_ns: int) -> _Slice:
        key = sent_ns // self._width_ns
        piece = self._slices.get(key)
        return self._new_slice(key) if piece is None else piece

    def _add_loose(self, piece: _Slice, loose: LooseTimes | None) -> None:
        if loose is not None:
            sums = (None, *loose.gap_sums, None, *loose.itl_sums)
            parts = zip((*piece.loose_gaps, *piece.loose_itl), (*loose.gaps, *loose.itl), sums, strict=True)
            for part, values, total in parts:
                part.extend(values, total)
                self._held += len(values)

    def _fold_if_many(self, piece: _Slice) -> None:
        if not self._folded and self._held > self._exact_limit:
            self._folded = True
        if self._folded:
            for part in piece.parts():
                part.fold()

    def _new_slice(self, key: int) -> _Slice:
        piece = self._slices[key] = _Slice()
        if len(self._slices) <= MAX_SLICES:
            return piece
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
        return blake2b(index.to_bytes(8, "big", signed=True), digest_size=8, key=self._key).digest()

    def _sampled_up_to(self) -> bytes:
        """The greatest hash that a request may have to come into the sample."""
        return (-self._sample[0][0]).to_bytes(8, "big") if len(self._sample) >= SAMPLED_REQUESTS else b"\xff" * 8

    def _choose(self, index: int, sent_ns: int, gaps: Sequence[float], itl: Sequence[float] | None) -> None:
        rank = -int.from_bytes(self._hash(index), "big")
        if len(self._sample) >= SAMPLED_REQUESTS and rank < self._sample[0][0]:
            return
        held = array("d", gaps)
        self._chosen += 1
        one = SampledRequest(sent_ns, held, held if itl is None else array("d", itl))
        entry = (rank, index, self._chosen, one)
        if len(self._sample) < SAMPLED_REQUESTS:
            heapq.heappush(self._sample, entry)
        else:
            heapq.heapreplace(self._sample, entry)

    def slice_start_ns(self, at_ns: float) -> int:
        """The first border between slices at or after a time: where a window may start."""
        return -(-int(at_ns) // self._width_ns) * self._width_ns

    def gaps(self, from_ns: int | None = None) -> LogHistogram:
        """Chunk gaps of the requests sent at or after a border between slices (of all, without one)."""
        return self._merged(from_ns, 0, 1)

    def itl(self, from_ns: int | None = None) -> LogHistogram:
        """ITL of the requests sent at or after a border between slices (of all, without one)."""
        return self._merged(from_ns, 0, 2)

    def gaps_between(self, from_ns: int | None = None) -> tuple[LogHistogram, LogHistogram]:
        """The least and the greatest that the chunk gaps can have been."""
        return self._between(self.gaps, 3, from_ns)

    def itl_between(self, from_ns: int | None = None) -> tuple[LogHistogram, LogHistogram]:
        """The least and the greatest that the ITL can have been."""
        return self._between(self.itl, 6, from_ns)

    def _between(
        self, values: Callable[[int | None], LogHistogram], part: int, from_ns: int | None
    ) -> tuple[LogHistogram, LogHistogram]:
        """The values with the loose ones taken out, and put in again as the least, or the greatest, that they can be."""
        least = values(from_ns)
        least.remove(self._merged(from_ns, part))
        most = least.copy()
        least.merge(self._merged(from_ns, part + 1))
        most.merge(self._merged(from_ns, part + 2))
        return least, most

    def _merged(self, from_ns: int | None, *parts: int) -> LogHistogram:
        result = LogHistogram()
        if self._folded:
            result.fold()
        for key, piece in self._slices.items():
            if from_ns is None or key * self._width_ns >= from_ns:
                for part in parts:
                    result.merge(piece.parts()[part])
        return result

    def sample(self, from_ns: int | None = None) -> list[SampledRequest]:
        """The requests chosen for the intervals, in the order in which they were sent."""
        rows = sorted((request.sent_ns, index, number, request) for _, index, number, request in self._sample)
        return [request for sent_ns, _, _, request in rows if from_ns is None or sent_ns >= from_ns]
