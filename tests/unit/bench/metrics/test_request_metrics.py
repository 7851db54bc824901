"""Each metric of a request against its definition, on records small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.metrics import request_metrics as m
from bench.metrics import token_gaps
from bench.records import NO_FAILURE, Outcome, RequestRecord
from bench.records.record_table import Floats, RecordTable
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import request_of_gaps, table_of, value_of


def values_of(record: RequestRecord, *metrics: Callable[[RecordTable], Floats]) -> list[float | None]:
    return [value_of(metric, record) for metric in metrics]


def gaps_ns(record: RequestRecord) -> list[float]:
    gaps: list[float] = token_gaps.chunk_gap_ns(table_of(record)).ns.tolist()
    return gaps


def itl_ns(record: RequestRecord) -> list[float]:
    itl: list[float] = token_gaps.itl_ns(table_of(record)).ns.tolist()
    return itl


def stalls_ns(gaps: list[int]) -> list[float]:
    stalls: list[float] = token_gaps.stalls(
        token_gaps.TokenGaps(table_of(request_of_gaps(0, 0, gaps))).gaps
    ).ns.tolist()
    return stalls


def test_ttft_ends_at_the_first_text_and_not_at_the_role_chunk() -> None:
    record = made_record(chunks_ms=(5, 50, 60), kinds="rcc")
    assert value_of(m.ttft_ms, record) == 50


def test_an_empty_delta_is_not_a_token() -> None:
    record = made_record(chunks_ms=(5, 20, 50, 60), kinds="rocc")
    assert value_of(m.ttft_ms, record) == 50


def test_reasoning_is_text_for_ttft_and_not_for_ttfo() -> None:
    record = made_record(chunks_ms=(40, 50, 60, 70), kinds="ttcc")
    assert values_of(record, m.ttft_ms, m.ttfo_ms) == [40, 60]


def test_tool_call_arguments_are_text() -> None:
    record = made_record(chunks_ms=(5, 40, 50), kinds="rff")
    assert values_of(record, m.ttft_ms, m.ttfo_ms, m.e2el_ms) == [40, 40, 50]


def test_reasoning_alone_has_no_first_output() -> None:
    assert value_of(m.ttfo_ms, made_record(kinds="ttt")) is None
    assert value_of(m.ttfo_ms, made_record(chunks_ms=(50,), kinds="t")) is None


def test_an_image_that_may_have_come_earlier_than_its_stamp_opens_ttfi_downwards() -> None:
    record = made_record(chunks_ms=(40, 60), kinds="ii", chunk_bound_ns=(START_NS + 30 * MS, None))
    table = table_of(record)
    assert [ends.tolist() for ends in m.first_image_bounds(table, m.ttfi_ms(table))] == [[30], [40]]


def test_latency_ends_with_the_last_text_and_not_with_usage_or_done() -> None:
    record = made_record(chunks_ms=(50, 60, 90, 95), kinds="ccuo", end_ns=START_NS + 99 * MS)
    assert value_of(m.e2el_ms, record) == 60


def test_a_response_that_is_not_streamed_has_e2el_only() -> None:
    record = made_record(chunks_ms=(), n=20, end_ns=START_NS + 80 * MS)
    assert value_of(m.e2el_ms, record) == 80
    assert values_of(record, m.ttft_ms, m.ttfo_ms, m.tpot_ms, m.tps) == [None] * 4
    assert gaps_ns(record) == []


def test_a_stream_without_text_has_no_latency() -> None:
    record = made_record(chunks_ms=(5, 9), kinds="ro", n=0)
    assert values_of(record, m.ttft_ms, m.e2el_ms, m.tpot_ms) == [None] * 3


def test_tpot_leaves_out_the_first_token() -> None:
    assert value_of(m.tpot_ms, made_record(chunks_ms=(50, 60, 80))) == 15


def test_tpot_leaves_out_all_tokens_of_the_first_chunk() -> None:
    record = made_record(chunks_ms=(50, 60, 80), tokens=(4, 2, 1))
    assert value_of(m.tpot_ms, record) == pytest.approx(30 / (7 - 4))


def test_tpot_counts_the_tokens_of_usage_and_not_the_chunks() -> None:
    assert value_of(m.tpot_ms, made_record(chunks_ms=(50, 60, 80), n=4)) == pytest.approx(30 / 3)


def test_tpot_takes_an_even_share_for_a_first_chunk_of_unknown_tokens() -> None:
    assert value_of(m.tpot_ms, made_record(chunks_ms=(50, 60, 80), tokens=None, n=12)) == pytest.approx(30 / (12 - 4))


@pytest.mark.parametrize("record", [made_record(chunks_ms=(50,)), made_record(chunks_ms=(50, 60), tokens=(9, 0))])
def test_one_chunk_or_no_token_after_it_has_no_tpot(record: RequestRecord) -> None:
    assert value_of(m.tpot_ms, record) is None


def test_tps_is_the_inverse_of_tpot() -> None:
    assert value_of(m.tps, made_record(chunks_ms=(50, 60, 80))) == pytest.approx(1000 / 15)


def test_tps_where_all_text_came_in_one_read_is_the_least_that_the_stamps_allow() -> None:
    assert value_of(m.tps, made_record(chunks_ms=(50, 50, 50))) is None  # The start of generation is unknown.
    bounds = (START_NS + 30 * MS, START_NS + 30 * MS, None)
    assert value_of(m.tps, made_record(chunks_ms=(50, 50, 50), chunk_bound_ns=bounds)) == pytest.approx(1000 / 10)


def test_every_gap_between_text_chunks_is_kept() -> None:
    record = made_record(chunks_ms=(5, 50, 55, 61, 90), kinds="rcocu")
    assert gaps_ns(record) == [11 * MS]


def test_itl_shares_a_gap_evenly_among_the_tokens_that_ended_it() -> None:
    record = made_record(chunks_ms=(50, 60, 80), tokens=(1, 2, 4))
    assert itl_ns(record) == [5 * MS] * 2 + [5 * MS] * 4


def test_a_chunk_without_a_token_of_its_own_hands_its_time_on() -> None:
    record = made_record(chunks_ms=(50, 60, 80), tokens=(1, 0, 2))
    assert itl_ns(record) == [15 * MS] * 2


def test_itl_is_the_gap_where_tokens_are_not_known() -> None:
    assert itl_ns(made_record(chunks_ms=(50, 60, 80), tokens=None, n=9)) == [10 * MS, 20 * MS]


def test_the_one_chunk_of_a_reply_is_its_first_text_and_its_last() -> None:
    record = made_record(chunks_ms=(50,))
    assert values_of(record, m.ttft_ms, m.e2el_ms) == [50, 50]


def test_the_median_of_an_even_number_of_gaps_lies_between_the_two_in_the_middle() -> None:
    # The median is 30 ms, so gaps over 150 ms are stalls.
    assert stalls_ns([20 * MS, 35 * MS, 151 * MS, 25 * MS]) == [151 * MS]
    assert stalls_ns([20 * MS, 35 * MS, 150 * MS, 25 * MS]) == []


def test_a_stall_is_over_five_medians_and_over_a_tenth_of_a_second() -> None:
    gaps = [10 * MS] * 9
    assert stalls_ns([*gaps, 101 * MS]) == [101 * MS]
    assert stalls_ns([*gaps, 99 * MS]) == []
    assert stalls_ns([30 * MS] * 9 + [149 * MS]) == []
    assert stalls_ns([]) == []


def test_latency_from_intended_holds_the_wait_of_the_client() -> None:
    record = made_record(intended_ns=START_NS - 7 * MS)
    assert value_of(m.ttft_from_intended_ms, record) == 57
    assert value_of(m.e2el_from_intended_ms, record) == 77
    assert values_of(record, m.ttft_ms, m.ttfo_ms, m.e2el_ms) == [50, 50, 70]


def test_send_lateness_leaves_out_the_connection_and_the_wait_at_the_cap() -> None:
    record = made_record(sent_ms=20, intended_ns=START_NS, eligible_ns=START_NS + 12 * MS, connect_ns=5 * MS)
    assert value_of(m.send_lateness_ms, record) == 3


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_a_failed_request_has_no_latency(outcome: Outcome) -> None:
    record = made_record(outcome=outcome)
    metrics = (m.ttft_ms, m.ttfo_ms, m.e2el_ms, m.tpot_ms, m.tps, m.ttft_from_intended_ms, m.e2el_from_intended_ms)
    assert values_of(record, *metrics) == [None] * len(metrics)
    assert gaps_ns(record) == itl_ns(record) == []
    none = outcome in NO_FAILURE
    assert value_of(m.time_until_failure_ms, record) == (None if none else 70)


def test_a_request_that_was_never_sent_fails_from_when_it_might_have_been() -> None:
    fields: dict[str, Any] = {
        "sent_ns": None,
        "outcome": Outcome.CONNECT_ERROR,
        "chunks_ms": (),
        "end_ns": START_NS + 9 * MS,
    }
    assert value_of(m.time_until_failure_ms, made_record(**fields)) == 9
    never_eligible = made_record(**fields, eligible_ns=None, intended_ns=START_NS + 2 * MS)
    assert value_of(m.time_until_failure_ms, never_eligible) == 7


# ---- Hidden reasoning ---------------------------------------------------------------------------------------------------

HIDDEN: dict[str, Any] = {"n": 48, "reasoning_tokens": 40}


def test_hidden_reasoning_came_before_the_first_chunk_and_takes_no_time_after_it() -> None:
    chunks = [500.0 + 10 * i for i in range(8)]
    assert value_of(m.tpot_ms, made_record(chunks_ms=chunks, **HIDDEN)) == pytest.approx(10.0)
    # 16 visible tokens in 8 chunks: presumably two in each.
    unknown = made_record(chunks_ms=chunks, tokens=None, n=56, reasoning_tokens=40)
    assert value_of(m.tpot_ms, unknown) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        (HIDDEN, 40),
        ({"n": 48}, 0),
        ({**HIDDEN, "reasoning_tokens": 0}, 0),
        ({**HIDDEN, "kinds": "tcc"}, 0),  # The reasoning was sent.
        ({"n": 3, "reasoning_tokens": 40}, 0),  # The server does not count it as output.
        ({"n": 40, "reasoning_tokens": 40}, 0),
        ({"n": 40, "reasoning_tokens": 40, "tokens": (0, 0, 0)}, 0),  # No token would be left for the received text.
        # By the usage on each chunk, the first one has it.
        ({"n": 48, "reasoning_tokens": 40, "tokens": (46, 1, 1)}, 0),
        ({"n": 48, "reasoning_tokens": 40, "tokens": (6, 1, 1)}, 40),
        # There are more chunks than answer tokens, so the reasoning was sent as content.
        ({"n": 12, "reasoning_tokens": 10, "tokens": None, "chunks_ms": (5, 60, 70), "kinds": "ccc"}, 0),
        ({"n": 48, "reasoning_tokens": 40, "chunks_ms": (), "kinds": ""}, 0),  # No stream.
    ],
)
def test_reasoning_is_hidden_where_it_counts_and_no_chunk_has_it(fields: dict[str, Any], hidden: int) -> None:
    assert m.hidden_tokens(table_of(made_record(**fields))).tolist() == [hidden]
