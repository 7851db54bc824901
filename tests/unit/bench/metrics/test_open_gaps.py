"""Gaps next to chunks that may have come before their stamps: the least and the greatest of each gap, and of their sum."""

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
        # The middle chunk came at 55 to 70: the gap before it is 5 to 20, the gap after it 20 to 35, and together they
        # are 40.
        ((50, 70, 90), (None, 55, None), ([20, 20], [5, 20], [20, 35]), (40, 40)),
        # The first chunk came at 40 to 50, the last at 80 to 90.
        ((50, 70, 90), (40, None, 80), ([20, 20], [20, 10], [30, 20]), (30, 50)),
        # Two uncertain chunks in a row, from two reads.
        ((50, 70, 90, 110), (None, 60, 80, None), ([20, 20, 20], [10, 10, 20], [20, 30, 30]), (60, 60)),
        # The chunk may have come before the previous one's stamp, so the gap between them may be zero.
        ((50, 70, 90), (None, 40, None), ([20, 20], [0, 20], [20, 50]), (40, 40)),
        # The first two chunks are uncertain. The exact gap after them is not affected.
        ((50, 70, 90, 95), (45, 60, None, None), ([20, 20], [10, 20], [25, 30]), (40, 45)),
        # Two uncertain chunks with an exact gap between them, which is affected by neither.
        ((50, 60, 70, 80, 90), (45, None, None, None, 85), ([10, 10], [10, 5], [15, 10]), (15, 25)),
        # An exact stamp between two uncertain chunks separates them: a read of two chunks took 30, and then one came at
        # 82 to 85.
        ((50, 80, 80, 85, 95), (None, 60, None, 82, None), ([30, 0, 5, 10], [15, 0, 2, 10], [30, 15, 5, 13]), (45, 45)),
        # A read of three chunks after a poll at 70: 20 of the 30 belong to the first gap, and the others share 10.
        ((50, 80, 80, 80), (None, 70, 70, None), ([30, 0, 0], [20, 0, 0], [30, 10, 5]), (30, 30)),
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


@pytest.mark.parametrize(
    ("tokens", "earliest", "itl", "sums"),
    [
        # 10 ms for two tokens and 20 ms for four. The second chunk came at 52 to 60.
        ((1, 2, 4), (None, 52, None), ([5] * 6, [1] * 2 + [5] * 4, [5] * 2 + [7] * 4), (22, 38)),
        # The time of a chunk without a token goes to the next chunk with tokens. If it is the last chunk, its time is
        # dropped.
        ((1, 0, 2), (None, 52, None), ([15, 15], [11, 11], [19, 19]), (22, 38)),
        ((1, 2, 0), (45, None, None), ([5, 5], [5, 5], [7.5, 7.5]), (10, 15)),
        # The bound lies before the previous chunk, so the gap may be zero.
        ((1, 2, 1), (None, 40, None), ([5, 5, 20], [0, 0, 20], [5, 5, 40]), (20, 50)),
    ],
)
def test_tokens_of_a_chunk_share_what_is_open_of_their_gap(
    tokens: Sequence[int],
    earliest: Sequence[float | None],
    itl: tuple[Sequence[float], ...],
    sums: tuple[float, float],
) -> None:
    table = table_of(made_record(chunks_ms=(50, 60, 80), tokens=tokens, chunk_bound_ns=at(*earliest)))
    found = loose_gaps(table, TokenGaps(table))
    assert found is not None
    assert pauses_of(found.itl) == tuple([ms * MS for ms in column] for column in itl)
    assert sums_of(found.itl) == tuple(ms * MS for ms in sums)


def test_the_open_end_of_a_reply_and_the_open_beginning_of_the_next_are_apart() -> None:
    table = table_of(
        made_record(0, chunk_bound_ns=at(None, None, 64)), made_record(1, chunk_bound_ns=at(45, None, None))
    )
    found = loose_gaps(table, TokenGaps(table))
    assert found is not None
    assert pauses_of(found.gaps) == tuple([ms * MS for ms in column] for column in ([10, 10], [4, 10], [10, 15]))
    assert sums_of(found.gaps) == (14 * MS, 25 * MS)


def test_one_open_chunk_alone_has_no_gap() -> None:
    table = table_of(made_record(chunks_ms=(50,), chunk_bound_ns=at(40)))
    assert loose_gaps(table, TokenGaps(table)) is None
