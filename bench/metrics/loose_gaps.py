"""The least and the greatest possible pause between tokens, if some time stamps are only bounds.

An *open* chunk is a chunk whose stamp is a bound. Neighbouring open chunks form a *stretch*, whose gaps begin or end
with one of them. If all chunks of a stretch came in one read, its m gaps, the first of them from the last chunk before
it, add up to at most S, and the first is at least B; G = S - B is open. Wherever the chunks lie,

    the k-th greatest gap    is at most min(S / k, G / (k - 1))
    the greatest one         is at least max(B, (the least sum) / m)

so these, and the greatest gap with all others zero, are bounds of every quantile. In other stretches each gap is treated as
independent of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.metrics.token_gaps import TokenGaps
from bench.records.record_table import Floats, Ints, Mask, RecordTable


@dataclass(frozen=True, slots=True)
class LoosePauses:
    """Pauses that begin or end with an open chunk, in ns: by the stamps, at least, and at most, with the row of each.
    `*_sums` are the least and the greatest sums of parts of them, with the row of each part."""

    values: npt.NDArray[Any]
    least: Floats
    most: Floats
    row: Ints
    least_sums: Ints
    most_sums: Ints
    sum_row: Ints

    def of_rows(self, rows: Mask) -> tuple[npt.NDArray[Any], Floats, int, Floats, int]:
        """For some rows: the pauses, their least values with the sum, and their greatest values with the sum."""
        pauses, sums = rows[self.row], rows[self.sum_row]
        least_sum, most_sum = int(self.least_sums[sums].sum()), int(self.most_sums[sums].sum())
        return self.values[pauses], self.least[pauses], least_sum, self.most[pauses], most_sum


@dataclass(frozen=True, slots=True)
class LooseGaps:
    """The open gaps of a table, and its open ITL."""

    gaps: LoosePauses
    itl: LoosePauses


def loose_gaps(table: RecordTable, of: TokenGaps) -> LooseGaps | None:
    """The open pauses of the successful requests of a table; None if every stamp of their text is exact."""
    gaps = _gaps(table)
    if gaps is None:
        return None
    plain = of.is_itl
    rows = ~plain & (np.bincount(gaps.row, minlength=len(table)) > 0)
    if not rows.any():
        return LooseGaps(gaps, gaps)
    shared = _shared(table, rows)
    values, least, _, most, _ = gaps.of_rows(plain)
    sums = plain[gaps.sum_row]
    itl = LoosePauses(
        values=np.concatenate((values, shared.values)),
        least=np.concatenate((least, shared.least)),
        most=np.concatenate((most, shared.most)),
        row=np.concatenate((gaps.row[plain[gaps.row]], shared.row)),
        least_sums=np.concatenate((gaps.least_sums[sums], shared.least_sums)),
        most_sums=np.concatenate((gaps.most_sums[sums], shared.most_sums)),
        sum_row=np.concatenate((gaps.sum_row[sums], shared.sum_row)),
    )
    return LooseGaps(gaps, itl)


def _gaps(table: RecordTable) -> LoosePauses | None:
    chunks = table.token_chunks
    latest, earliest = chunks.ns, chunks.earliest
    at = np.flatnonzero((earliest != latest) & table.ok[chunks.row])
    if not len(at):
        return None
    row = chunks.row[at]
    # A stretch begins if the previous chunk is not open, or belongs to another record.
    begins = np.append(True, (np.diff(at) > 1) | (np.diff(row) > 0))
    row, begin, end = row[begins], at[begins], at[np.append(begins[1:], True)]
    # The chunks around it whose stamps are exact, or the outermost open chunks.
    first = np.maximum(begin - 1, chunks.starts[row])
    last = np.minimum(end + 1, (chunks.starts + chunks.counts)[row] - 1)
    whole = last > first
    row, begin, first, last = row[whole], begin[whole], first[whole], last[whole]
    if not len(row):
        return None

    sizes = last - first
    of_gap = np.repeat(np.arange(len(row)), sizes)
    number = np.arange(len(of_gap)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    gap_end = first[of_gap] + number
    gap_begin = gap_end - 1
    each_least = np.maximum(0, earliest[gap_end] - latest[gap_begin]).astype(np.float64)
    each_most = (latest[gap_end] - earliest[gap_begin]).astype(np.float64)

    starts = np.cumsum(sizes) - sizes
    one_read = np.logical_and.reduceat(latest[gap_end] == latest[begin][of_gap], starts)
    least_end = np.minimum.reduceat(earliest[gap_end], starts)
    span = latest[last] - earliest[first]
    head = np.maximum(0, least_end - latest[first])
    certain = np.maximum(0, earliest[last] - latest[first])
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = np.minimum(span[of_gap] / number, (span - head)[of_gap] / (number - 1))
    read_most = np.where(number == 1, span[of_gap], shared)
    read_least = np.where(number == 1, np.maximum(head, certain / sizes)[of_gap], 0.0)

    together = one_read[of_gap]
    return LoosePauses(
        values=latest[gap_end] - latest[gap_begin],
        least=np.where(together, read_least, each_least),
        most=np.where(together, read_most, each_most),
        row=row[of_gap],
        least_sums=certain,
        most_sums=span,
        sum_row=row,
    )


def _shared(table: RecordTable, rows: Mask) -> LoosePauses:
    """The ITL of rows whose chunks share their gaps among several tokens, with each gap treated separately."""
    chunks = table.token_chunks
    within = (np.diff(chunks.row) == 0) & rows[chunks.row[1:]]
    latest, earliest, row = chunks.ns, chunks.earliest, chunks.row[1:][within]
    tokens = chunks.tokens[1:][within]
    values = np.diff(latest)[within]
    least = np.maximum(0, earliest[1:] - latest[:-1])[within]
    most = (latest[1:] - earliest[:-1])[within]
    # A pause lasts until the next chunk with tokens; time after the last such chunk belongs to no token.
    ends = np.flatnonzero(tokens > 0)
    begins = np.maximum(np.append(0, ends + 1)[:-1], np.searchsorted(row, row[ends]))
    by, of_pause = tokens[ends], row[ends]

    def waited(of: Ints) -> Ints:
        up_to = np.concatenate(([0], np.cumsum(of)))
        sums: Ints = up_to[ends + 1] - up_to[begins]
        return sums

    return LoosePauses(
        values=np.repeat(waited(values) / by, by),
        least=np.repeat(waited(least) / by, by),
        most=np.repeat(waited(most) / by, by),
        row=np.repeat(of_pause, by),
        least_sums=waited(least),
        most_sums=waited(most),
        sum_row=of_pause,
    )
