"""Requests cancelled by the client: the ledger must show that the client closed the connection at about that time."""

from __future__ import annotations

from typing import Any

import pytest

from bench.accuracy.join import Join
from bench.records import Outcome, RequestRecord
from tests.support.changed import replace
from tests.support.made_ledger import ledger_of, made_line
from tests.support.made_records import made_record

MS = 1_000_000


def left(**fields: Any) -> RequestRecord:
    return made_record(chunks_ms=(20.0, 30.0), kinds="cc", outcome=Outcome.CANCELLED, status=200, **fields)


def problems(record: RequestRecord, lines: list[dict[str, Any]]) -> list[str]:
    join = Join(ledger_of(lines))
    list(join.pairs([record]))
    return join.problems()


def test_the_server_may_have_written_a_little_more() -> None:
    record = left()
    line = made_line(record)
    assert problems(record, [line | {"end_ns": line["received_ns"] + 31 * MS}]) == []
    assert problems(record, [line | {"write_ns": [*line["write_ns"], line["end_ns"]]}]) == []


def test_a_connection_that_was_not_closed_shows_as_a_reply_that_went_on() -> None:
    record = left()
    line = made_line(record)
    (problem,) = problems(record, [line | {"end_ns": line["received_ns"] + 500 * MS}])
    assert "end of a cancelled request" in problem
    assert "left after 30 ms here, 500 ms there" in problem


def test_who_left_before_the_server_had_the_request_has_no_line() -> None:
    assert problems(left(first_byte_ns=None), []) == []
    assert "records without a line" in problems(left(), [])[0]


@pytest.mark.parametrize(("later_ns", "named"), [(100_000_000, 0), (100_000_001, 1)])
def test_a_mock_may_go_on_for_a_tenth_of_a_second(later_ns: int, named: int) -> None:
    record = left()
    assert record.sent_ns is not None
    line = made_line(record)
    lasted_ns = record.end_ns - record.sent_ns
    assert len(problems(record, [line | {"end_ns": line["received_ns"] + lasted_ns + later_ns}])) == named


def test_a_request_that_left_before_it_was_sent_cannot_have_gone_on_too_long() -> None:
    record = left()
    line = made_line(record)
    late = line | {"end_ns": line["received_ns"] + 900 * MS}
    assert len(problems(record, [late])) == 1
    assert problems(replace(record, sent_ns=None), [late]) == []
