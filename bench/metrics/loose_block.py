"""What stamps that are bounds leave open of the gaps of many plain records: `bounds.loose_times` for a whole block.

An *open* chunk is one whose stamp is a bound. Open chunks that stand beside each other are a *stretch*; its gaps are those
that begin or end with one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes
    from bench.run_files.record_blocks import Floats, Ints, Mask


@dataclass(frozen=True, slots=True)
class LooseBlock:
    """The gaps that begin or end with an open chunk, in ns, one entry each; and what they add up to in each stretch."""

    values: Ints
    least: Floats
    most: Floats
    gap_row: Ints
    """The row of the record of each gap."""
    least_sums: Ints
    most_sums: Ints
    stretch_row: Ints
    """The row of the record of each stretch."""

    def of_rows(self, gaps: Mask, stretches: Mask) -> tuple[Ints, Floats, int, Floats, int]:
        """Of some of the records: the gaps, the least that they can be with their sum, and the greatest with theirs."""
        least_sum, most_sum = int(self.least_sums[stretches].sum()), int(self.most_sums[stretches].sum())
        return self.values[gaps], self.least[gaps], least_sum, self.most[gaps], most_sum


def loose_block(times: BlockTimes) -> LooseBlock | None:
    """What is open of the records of a block; None where every stamp is exact."""
    if not times.bounded:
        return None
    block = times.block
    latest, bounds = block.stamps[times.token_at], block.earliest[times.token_at]
    earliest = np.where(bounds > 0, np.minimum(bounds, latest), latest)
    at = np.flatnonzero(earliest != latest)
    if not len(at):
        return None
    row_ends = np.cumsum(block.tokens)
    row = np.searchsorted(row_ends, at, side="right")
    # A stretch begins where the chunk before is not open, or is another record's.
    begins = np.append(True, (np.diff(at) > 1) | (np.diff(row) > 0))
    row, begin, end = row[begins], at[begins], at[np.append(begins[1:], True)]
    # The chunks around it whose stamps are exact, or the outermost open ones.
    first = np.maximum(begin - 1, row_ends[row] - block.tokens[row])
    last = np.minimum(end + 1, row_ends[row] - 1)
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

    # `bounds._gaps_of_a_read` says why these are the bounds where all chunks of a stretch came in one read.
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
    return LooseBlock(
        values=latest[gap_end] - latest[gap_begin],
        least=np.where(together, read_least, each_least),
        most=np.where(together, read_most, each_most),
        gap_row=row[of_gap],
        least_sums=certain,
        most_sums=span,
        stretch_row=row,
    )
