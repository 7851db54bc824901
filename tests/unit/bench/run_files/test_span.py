"""The time that the records of a run span."""

from __future__ import annotations

import pytest

from bench.records.record_table import RecordTable
from bench.run_files.span import Span
from tests.support.made_records import MS, START_NS, made_record

S = 1_000 * MS


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize(
    ("begin_s", "end_s", "said"),
    [
        (30, 140, None),
        (30 + 1e-9, 200, "request made-1 was due 10 s before the run began: its times are damaged"),
        (20, 140 - 1e-9, "request made-2 ended 10 s after the run had ended: its times are damaged"),
        (None, 140 - 1e-9, "request made-2 ended 10 s after the run had ended: its times are damaged"),
        (None, None, None),
    ],
)
def test_a_record_more_than_ten_seconds_outside_the_run_is_named(
    order: tuple[int, ...], begin_s: float | None, end_s: float | None, said: str | None
) -> None:
    """Requests are due at 40, 20 and 50 s, in any order. Their last chunks come at 90, 130 and 150 s."""
    spans = {0: (40, 90), 1: (20, 130), 2: (50, 150)}
    span = Span()
    for index in order:
        due, end = spans[index]
        span.add(RecordTable([made_record(index, sent_ms=due * 1e3, chunks_ms=[(end - due) * 1e3])]))

    def at(seconds: float | None) -> int | None:
        return None if seconds is None else round(START_NS + seconds * S)

    assert span.outside(at(begin_s), at(end_s)) == said


def test_of_records_at_the_same_time_the_first_is_named() -> None:
    span = Span()
    for index in (5, 4):
        span.add(RecordTable([made_record(index)]))
    assert "made-5 was due" in str(span.outside(START_NS + 11 * S, None))
    assert "made-5 ended" in str(span.outside(None, START_NS - 11 * S))


def test_a_run_without_records_has_none_outside() -> None:
    assert Span().outside(START_NS, START_NS) is None
