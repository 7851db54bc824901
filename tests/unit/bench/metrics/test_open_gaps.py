"""Gaps next to chunks that may have come earlier than their stamps: each at least, at most, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.metrics.loose_gaps import loose_gaps
from bench.metrics.token_gaps import TokenGaps
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import pauses_of, sums_of, table_of


def at(*ms: float | None) -> tuple[int | None, ...]:
    return tuple(None if one is None else round(START_NS + one * MS) for one in ms)


@pytest.mark.parametrize(
    ("chunks", "earliest", "gaps", "sums"),
    [
        # The middle one came at 55 to 70: 5 to 20 before it, 20 to 35 behind, and 40 in all.
        ((50, 70, 90), (None, 55, None), ([20, 20], [5, 20], [20, 35]), (40, 40)),
        # The first at 40 to 50, the last at 80 to 90.
        ((50, 70, 90), (40, None, 80), ([20, 20], [20, 10], [30, 20]), (30, 50)),
        # Two in a row, of two reads.
        ((50, 70, 90, 110), (None, 60, 80, None), ([20, 20, 20], [10, 10, 20], [20, 30, 30]), (60, 60)),
        # It may have come before the one ahead of it: the gap between them is nothing at least.
        ((50, 70, 90), (None, 40, None), ([20, 20], [0, 20], [20, 50]), (40, 40)),
        # The first two, and an exact gap behind that is not touched.
        ((50, 70, 90, 95), (45, 60, None, None), ([20, 20], [10, 20], [25, 30]), (40, 45)),
        # Apart from each other: the exact gap between them belongs to neither.
        ((50, 60, 70, 80, 90), (45, None, None, None, 85), ([10, 10], [10, 5], [15, 10]), (15, 25)),
    ],
)
def test_each_gap_is_as_long_as_its_two_stamps_allow(
    chunks: Sequence[float],
    earliest: Sequence[float | None],
    gaps: tuple[Sequence[float], ...],
    sums: tuple[float, float],
) -> None:
    table = table_of(made_record(chunks_ms=chunks, chunk_bound_ns=at(*earliest)))
    found = loose_gaps(table, TokenGaps(table))
    assert found is not None
    assert pauses_of(found.gaps) == pauses_of(found.itl) == tuple([ms * MS for ms in column] for column in gaps)
    assert sums_of(found.gaps) == sums_of(found.itl) == tuple(ms * MS for ms in sums)
