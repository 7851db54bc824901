"""The pauses between tokens, over all successful requests of a table: chunk gaps, and ITL.

    gap    between neighbouring token chunks of a reply
    ITL    a gap shared evenly by the tokens of the chunk that ended it

The time of a chunk with text but without a token of its own (half a character, for example) is added to the next token.
If the tokens of chunks are unknown, each gap counts as one token's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.clock import NS_PER_MS
from bench.records.record_table import Ints, Mask, RecordTable

STALL_FACTOR = 5
STALL_FLOOR_NS = 100 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses in ns with their row and the time at which each ended, row by row, in order of time."""

    ns: npt.NDArray[Any]
    row: Ints
    end_ns: Ints

    def starts(self, rows: int) -> Ints:
        """The index of the first pause of each row, followed by the end of the last row."""
        return np.searchsorted(self.row, np.arange(rows + 1))


class TokenGaps:
    """The gaps and the ITL of a table; unsuccessful requests have none."""

    def __init__(self, table: RecordTable) -> None:
        self._table = table
        self._chunks = table.token_chunks

    @cached_property
    def _within(self) -> Mask:
        """For each token chunk but the table's first: whether the chunk before it belongs to the same, successful reply."""
        row = self._chunks.row
        within: Mask = (np.diff(row) == 0) & self._table.ok[row[1:]]
        return within

    @cached_property
    def gaps(self) -> Pauses:
        """One pause per gap."""
        chunks, within = self._chunks, self._within
        return Pauses(np.diff(chunks.ns)[within], chunks.row[1:][within], chunks.ns[1:][within])

    @cached_property
    def is_itl(self) -> Mask:
        """Rows in which each gap is one ITL: chunks after the first have one token each, or their tokens are unknown."""
        chunks = self._chunks
        unlike = np.bincount(chunks.row[1:][self._within & (chunks.tokens[1:] != 1)], minlength=len(self._table))
        rows: Mask = ~self._table.has_chunk_tokens | (unlike == 0)
        return rows

    @cached_property
    def _closing(self) -> Ints:
        """The token chunks at which a pause can end or begin: the first chunk of a reply, and each chunk with tokens of
        its own."""
        chunks = self._chunks
        begins = np.diff(chunks.row, prepend=-1) > 0
        rows = self._table.ok & ~self.is_itl
        return np.flatnonzero(rows[chunks.row] & (begins | (chunks.tokens > 0)))

    @cached_property
    def closed(self) -> tuple[Pauses, Ints]:
        """The pauses of the other rows, and the number of tokens that share each pause."""
        chunks, at = self._chunks, self._closing
        row = chunks.row[at]
        within = np.diff(row) == 0
        last = at[1:][within]
        return Pauses(np.diff(chunks.ns[at])[within], row[1:][within], chunks.ns[last]), chunks.tokens[last]

    @cached_property
    def shared(self) -> Pauses:
        """The ITL of the other rows, one per token."""
        pauses, by = self.closed
        return Pauses(np.repeat(pauses.ns / by, by), np.repeat(pauses.row, by), np.repeat(pauses.end_ns, by))

    @cached_property
    def itl(self) -> Pauses:
        """One pause per token, row by row."""
        shared = self.shared
        plain = self.is_itl[self.gaps.row]
        if plain.all():
            return self.gaps
        row = np.concatenate((self.gaps.row[plain], shared.row))
        order = np.argsort(row, kind="stable")
        ns = np.concatenate((self.gaps.ns[plain].astype(np.float64), shared.ns))
        end_ns = np.concatenate((self.gaps.end_ns[plain], shared.end_ns))
        return Pauses(ns[order], row[order], end_ns[order])


def chunk_gap_ns(table: RecordTable) -> Pauses:
    """The pauses between neighbouring token chunks."""
    return TokenGaps(table).gaps


def itl_ns(table: RecordTable) -> Pauses:
    """Inter-token latencies."""
    return TokenGaps(table).itl


def stalls(gaps: Pauses) -> Pauses:
    """The gaps of each request that are over 5 times its median gap and over 100 ms."""
    long = gaps.ns > STALL_FLOOR_NS
    mask = np.zeros(len(gaps.ns), dtype=np.bool_)
    if long.any():
        starts = gaps.starts(int(gaps.row[-1]) + 1)
        for row in sorted(set(gaps.row[long].tolist())):
            span = slice(int(starts[row]), int(starts[row + 1]))
            mask[span] = long[span] & (gaps.ns[span] > STALL_FACTOR * float(np.median(gaps.ns[span])))
    return Pauses(gaps.ns[mask], gaps.row[mask], gaps.end_ns[mask])
