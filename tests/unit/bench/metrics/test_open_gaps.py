"""Gaps next to chunks that may have come earlier than their stamps: each at least, at most, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench.metrics.loose_gaps import loose_gaps
from bench.metrics.token_gaps import TokenGaps
from bench.records import Outcome, RequestRecord
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


@pytest.mark.parametrize(
    ("tokens", "earliest", "itl", "sums"),
    [
        # 10 ms for two tokens and 20 for four; the second chunk came at 52 to 60.
        ((1, 2, 4), (None, 52, None), ([5] * 6, [1] * 2 + [5] * 4, [5] * 2 + [7] * 4), (22, 38)),
        # The time of a chunk without a token goes to the next one with tokens, and that of the last to none.
        ((1, 0, 2), (None, 52, None), ([15, 15], [11, 11], [19, 19]), (22, 38)),
        ((1, 2, 0), (45, None, None), ([5, 5], [5, 5], [7.5, 7.5]), (10, 15)),
        # A bound before the chunk ahead: the gap is nothing at least.
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


OPEN = at(None, 52, None)
RECORDS = [
    made_record(0),
    made_record(1, chunk_bound_ns=at(None, None, 64)),
    made_record(2, chunk_bound_ns=at(45, None, None)),
    made_record(3, tokens=(1, 2, 4)),
    made_record(4, tokens=(1, 2, 4), chunk_bound_ns=OPEN),
    made_record(5, tokens=(1, 0, 2), chunk_bound_ns=OPEN),
    made_record(6, tokens=(1, 3, 0), chunk_bound_ns=OPEN),
    made_record(7, tokens=(2, 0, 0), chunk_bound_ns=OPEN),
    made_record(8, chunk_bound_ns=OPEN, outcome=Outcome.RESET),
    made_record(9, chunks_ms=(50,), chunk_bound_ns=at(40)),
    made_record(10, chunks_ms=(50, 70), tokens=(1, 2), chunk_bound_ns=at(None, 60)),
    made_record(11, chunks_ms=()),
    # All in one read, and two reads of two.
    made_record(12, chunks_ms=(70, 70, 70), chunk_bound_ns=at(20, 20, None)),
    made_record(13, chunks_ms=(50, 80, 80, 90, 90), chunk_bound_ns=at(None, 60, None, 85, None)),
]


@pytest.mark.parametrize("records", [RECORDS, RECORDS[::-1], RECORDS[1:3], RECORDS[3:6], RECORDS[8:11]])
def test_each_request_of_a_table_has_the_gaps_that_it_has_alone(records: Sequence[RequestRecord]) -> None:
    table = table_of(*records)
    found = loose_gaps(table, TokenGaps(table))
    assert found is not None
    for row, record in enumerate(records):
        alone = loose_gaps(table_of(record), TokenGaps(table_of(record)))
        for name in ("gaps", "itl"):
            values, least, least_sum, most, most_sum = getattr(found, name).of_rows(np.arange(len(table)) == row)
            mine = None if alone is None else getattr(alone, name)
            assert (values.tolist(), least.tolist(), most.tolist()) == (
                ([], [], []) if mine is None else pauses_of(mine)
            )
            assert (least_sum, most_sum) == ((0, 0) if mine is None else sums_of(mine))


@pytest.mark.parametrize(
    "record",
    [RECORDS[0], RECORDS[8], RECORDS[9], RECORDS[11]],
    ids=["exact", "failed", "one chunk", "no chunk"],
)
def test_a_reply_without_an_open_gap_has_none(record: RequestRecord) -> None:
    assert loose_gaps(table_of(record), TokenGaps(table_of(record))) is None
