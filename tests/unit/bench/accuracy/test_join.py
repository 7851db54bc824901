"""Records and ledger lines are paired: matching pairs report nothing, and each difference names its request."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import astuple

from bench.accuracy.join import NAMED_AT_MOST, OUTCOME_OF_FAULT, Join, Pair, expected_outcome
from bench.errors import RecordError
from bench.records import MOST_TOKENS, Outcome, RequestRecord
from bench.results.certificate import JoinCounts
from mockserver.faults import FAULTS
from tests.support.changed import replace
from tests.support.made_ledger import ledger_of, made_line
from tests.support.made_records import made_record

RECORDS = [made_record(i, sent_ms=10 * i, chunks_ms=(5, 50, 60, 70, 75, 75), kinds="rcccuo") for i in range(4)]
LINES = [made_line(record) for record in RECORDS]


def joined(records: list[RequestRecord], lines: list[dict[str, Any]]) -> tuple[Join, list[Pair]]:
    joining = Join(ledger_of(lines))
    return joining, list(joining.pairs(records))


def problems(records: list[RequestRecord], lines: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(joined(records, lines)[0].problems())


def test_what_agrees_has_no_problem_and_is_counted() -> None:
    joining, pairs = joined(RECORDS, LINES)
    assert joining.problems() == []
    assert [(p.record.id, p.line["id"]) for p in pairs] == [(r.id, r.id) for r in RECORDS]
    assert joining.counts() == JoinCounts(requests=4, unmatched=0, differing=0, blocked=0)
    assert [astuple(row) for row in joining.agreement()] == [
        ("requests", 4, 4), ("chunks", 24, 24), ("tokens", 12, 12), ("bytes sent", 2_000, 2_000),
        ("bytes received", 4_800, 4_800), ("outcome ok", 4, 4), ("status 200", 4, 4),
    ]  # fmt: skip


def test_the_order_of_the_ledger_does_not_matter() -> None:
    assert problems(RECORDS, LINES[::-1]) == ()


@pytest.mark.parametrize(("tokens", "refused"), [(MOST_TOKENS, False), (MOST_TOKENS + 1, True)])
def test_a_ledger_line_with_more_tokens_than_any_reply_is_refused(tokens: int, refused: bool) -> None:
    line = LINES[0] | {"chunk_tokens": [0, tokens, 0, 0, 0, 0]}
    with pytest.raises(RecordError, match="no reply has more than 10,000,000 tokens") if refused else nullcontext():
        ledger_of([line]).line(line["id"])


def test_a_missing_ledger_line_is_named() -> None:
    assert problems(RECORDS, LINES[:2] + LINES[3:]) == ("records without a line in the ledger (1): made-2",)


def test_a_missing_record_is_named() -> None:
    assert problems(RECORDS[:3], LINES) == ("lines of the ledger without a record (1): made-3",)


def test_a_request_with_two_records_is_named() -> None:
    assert problems([*RECORDS, RECORDS[1]], LINES) == ("requests with two records (1): made-1",)


def test_a_stranger_at_the_mock_is_named() -> None:
    assert problems(RECORDS, [*LINES, {"id": None}]) == (
        "lines of the ledger without a record (1): without x-request-id",
    )


def test_the_probe_is_left_out() -> None:
    probe = made_line(replace(RECORDS[0], id="probe-run-1"))
    assert problems(RECORDS, [probe, *LINES]) == ()


@pytest.mark.parametrize(
    "outcome", [Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.DROPPED, Outcome.INTERRUPTED]
)
def test_a_request_that_never_reached_the_server_needs_no_line(outcome: Outcome) -> None:
    assert problems([*RECORDS, made_record(9, chunks_ms=(), outcome=outcome, sent_ns=None)], LINES) == ()


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.RESET, Outcome.HTTP_ERROR, Outcome.TIMEOUT_FIRST_BYTE])
def test_a_request_that_was_sent_needs_its_line(outcome: Outcome) -> None:
    assert problems([*RECORDS, made_record(9, chunks_ms=(), outcome=outcome)], LINES) == (
        "records without a line in the ledger (1): made-9",
    )


def test_of_two_attempts_the_last_one_counts() -> None:
    first = made_line(RECORDS[0], attempt=1, write_ns=[], chunk_tokens=[], chunk_kind="", bytes_out=0, fault="reset")
    again = made_line(RECORDS[0], attempt=2)
    for lines in ([first, again], [again, first]):
        joining, pairs = joined(RECORDS[:1], lines)
        assert joining.problems() == []
        assert pairs[0].line["attempt"] == 2


DIFFERENCES: list[tuple[str, dict[str, Any], str]] = [
    ("a lost chunk", {"chunk_ns": RECORDS[1].chunk_ns[:-1], "chunk_kind": "rcccu", "chunk_tokens": (0, 1, 1, 1, 0)},
     "number of chunks differs from the ledger (1): made-1 (5 here, 6 there)"),
    ("a chunk too many", {"chunk_ns": (*RECORDS[1].chunk_ns, 9), "chunk_kind": "rcccuoo", "chunk_tokens": None},
     "number of chunks differs from the ledger (1): made-1 (7 here, 6 there)"),
    ("a byte received too many", {"bytes_received": 1_201}, "bytes differs from the ledger (1): made-1 (1201 here"),
    ("a byte sent too few", {"bytes_sent": 499}, "number of bytes differs from the ledger (1): made-1 (499 here, 500 there)"),
    ("a wrong status", {"status": 201}, "status differs from the ledger (1): made-1 (201 here, 200 there)"),
    ("chunks counted as tokens", {"output_tokens": 6}, "tokens differs from the ledger (1): made-1 (6 here, 3 there)"),
    ("reasoning ignored", {"chunk_kind": "roccuo"}, "sequence of chunks differs from the ledger (1): made-1"),
    ("a success scored as a failure", {"outcome": Outcome.MALFORMED},
     "outcome differs from the ledger (1): made-1 (malformed here, ok there)"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "sentence"), DIFFERENCES, ids=[what for what, _, _ in DIFFERENCES])
def test_a_difference_is_named_with_both_sides(what: str, change: dict[str, Any], sentence: str) -> None:
    records = [RECORDS[0], replace(RECORDS[1], **change), *RECORDS[2:]]
    found = problems(records, LINES)
    assert any(sentence in problem for problem in found), found
    assert all("made-1" in problem for problem in found)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, Outcome.OK),
        ("stall", Outcome.OK),
        ("reset", Outcome.RESET),
        ("no_headers", Outcome.RESET),
        ("error_in_stream", Outcome.STREAM_ERROR),
        ("truncate", Outcome.TRUNCATED),
        ("cut_frame", Outcome.TRUNCATED),
        ("malformed", Outcome.MALFORMED),
        ("stall+crlf+gzip", Outcome.OK),
        ("slow+reset", Outcome.RESET),
        # The outcome follows from the end of the connection first, then from malformed bytes, then from the reported
        # error.
        ("malformed+truncate", Outcome.TRUNCATED),
        ("malformed+reset", Outcome.RESET),
        ("malformed+error_in_stream", Outcome.MALFORMED),
        ("error_in_stream+malformed", Outcome.MALFORMED),
    ],
)
def test_a_fault_of_the_ledger_decides_what_the_client_must_have_seen(fault: str | None, outcome: Outcome) -> None:
    assert expected_outcome(made_line(RECORDS[0], fault=fault)) is outcome


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("no_done", Outcome.TRUNCATED),
        ("gzip+no_done", Outcome.TRUNCATED),
        ("malformed", Outcome.MALFORMED),
        ("malformed+error_in_stream", Outcome.STREAM_ERROR),
        ("malformed+reset", Outcome.RESET),
        (None, Outcome.OK),
    ],
)
def test_streams_with_a_last_event_need_it_and_their_errors_are_named(
    fault: str | None, outcome: Outcome, endpoint: str
) -> None:
    assert expected_outcome(made_line(RECORDS[0], fault=fault), endpoint) is outcome


def test_every_fault_of_the_mock_but_the_one_without_a_line_has_its_outcome() -> None:
    assert OUTCOME_OF_FAULT.keys() == FAULTS.keys() - {"refuse"}, (
        "bench/accuracy/join.py must list the outcome of each fault: OUTCOME_OF_FAULT, or _HARMLESS"
    )


def test_who_trusts_untrue_usage_is_not_blamed() -> None:
    records = [replace(RECORDS[0], output_tokens=9)]
    assert problems(records, [made_line(RECORDS[0], fault="crlf+usage_wrong")]) == ()
    assert problems(records, [made_line(RECORDS[0], fault="crlf")]) != ()


def test_a_reply_that_never_began_has_no_status() -> None:
    silent = replace(RECORDS[0], outcome=Outcome.RESET, status=None, chunk_ns=(), chunk_kind="", chunk_tokens=None,
                     bytes_received=0)  # fmt: skip
    line = made_line(
        RECORDS[0], fault="no_headers", status=None, write_ns=[], chunk_tokens=[], chunk_kind="", bytes_out=0
    )
    assert problems([silent], [line]) == ()
    assert problems([replace(silent, status=200)], [line]) != ()


def test_a_status_that_is_an_error_outranks_everything() -> None:
    assert expected_outcome(made_line(RECORDS[0], status=429, fault="429")) is Outcome.HTTP_ERROR
    statuses = {status: expected_outcome(made_line(RECORDS[0], status=status)) for status in (200, 299, 300)}
    assert statuses == {200: Outcome.OK, 299: Outcome.OK, 300: Outcome.HTTP_ERROR}


def test_an_error_inside_a_200_stream_scored_as_success_is_caught() -> None:
    lines = [made_line(RECORDS[0], fault="error_in_stream"), *LINES[1:]]
    assert problems(RECORDS, lines) == (
        "requests whose outcome differs from the ledger (1): made-0 (ok here, stream_error there)",
    )


def test_after_a_reset_only_what_was_sent_must_agree() -> None:
    cut = replace(RECORDS[0], outcome=Outcome.RESET, chunk_ns=RECORDS[0].chunk_ns[:2], chunk_kind="rc",
                  chunk_tokens=(0, 1), bytes_received=400)  # fmt: skip
    line = made_line(RECORDS[0], fault="reset")
    assert problems([cut], [line]) == ()
    assert problems([replace(cut, bytes_sent=499)], [line]) != ()


@pytest.mark.parametrize("outcome", [Outcome.INTERRUPTED, Outcome.TIMEOUT_IDLE, Outcome.TIMEOUT_TOTAL])
def test_what_the_client_cut_may_be_less_than_was_written_and_not_more(outcome: Outcome) -> None:
    cut = replace(RECORDS[0], outcome=outcome, chunk_ns=RECORDS[0].chunk_ns[:2], chunk_kind="rc", bytes_received=400)
    assert problems([cut], [LINES[0]]) == ()
    assert problems([replace(RECORDS[0], outcome=outcome)], [made_line(cut, status=200)]) != ()


def test_a_request_that_the_client_cut_after_its_last_chunk_agrees() -> None:
    assert problems([replace(RECORDS[0], outcome=Outcome.INTERRUPTED)], [LINES[0]]) == ()


def test_the_tokens_of_failed_streams_are_in_no_sum() -> None:
    cut = replace(RECORDS[1], outcome=Outcome.STREAM_ERROR, chunk_ns=RECORDS[1].chunk_ns[:3], chunk_kind="rcc",
                  chunk_tokens=(0, 1, 1), output_tokens=None)  # fmt: skip
    failed = made_line(cut, fault="error_in_stream", status=200)
    joining, _ = joined([RECORDS[0], replace(cut, status=200)], [LINES[0], failed])
    rows = {row.what: (row.here, row.there) for row in joining.agreement()}
    assert joining.problems() == []
    assert rows["tokens"] == (3, 3)
    assert rows["chunks"] == (9, 9)


def test_of_many_differences_a_few_are_named_and_all_are_counted() -> None:
    records = [made_record(i) for i in range(NAMED_AT_MOST + 3)]
    (problem,) = problems(records, [])
    assert problem.startswith(f"records without a line in the ledger ({NAMED_AT_MOST + 3}): made-0, made-1")
    assert problem.endswith("and 3 more")


def test_a_reply_that_was_not_streamed_has_no_chunks_to_agree_on() -> None:
    record = made_record(0, chunks_ms=(), n=20, bytes_received=900)
    assert problems([record], [made_line(record)]) == ()
