"""Counts of requests at their borders, all by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.histogram import LogHistogram
from bench.metrics.request_metrics import output_tokens, time_until_failure_ms
from bench.metrics.tally import RecordTally
from bench.metrics.token_gaps import TokenGaps
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.load import Coalesced, Stalls
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import known
from tests.support.tables import table_of, value_of


def test_a_failure_lasts_from_its_sending_else_from_when_it_could_be_sent_else_from_when_it_was_due() -> None:
    failed = made_record(0, outcome=Outcome.RESET, sent_ms=30, end_ns=START_NS + 100 * MS, intended_ns=START_NS + 10 * MS,
                         eligible_ns=START_NS + 20 * MS)  # fmt: skip
    assert value_of(time_until_failure_ms, failed) == 70
    assert value_of(time_until_failure_ms, replace(failed, sent_ns=None)) == 80
    assert value_of(time_until_failure_ms, replace(failed, sent_ns=None, eligible_ns=None)) == 90
    for outcome in (Outcome.OK, Outcome.DROPPED, Outcome.CANCELLED):
        assert value_of(time_until_failure_ms, replace(failed, outcome=outcome)) is None


def tally(*records: RequestRecord) -> RecordTally:
    """The tally of one table. Checks that a table per record, in either order, gives the same."""
    whole, alone, back = RecordTally(), RecordTally(), RecordTally()
    each = [table_of(record) for record in records]
    for found, tables in (whole, [table_of(*records)]), (alone, each), (back, each[::-1][:1_000]):
        for table in tables:
            found.add(table)
            if not len(texts := table.where(table.ok)):
                continue  # A summary adds no empty tables, either.
            found.add_texts(texts, output_tokens(texts), TokenGaps(texts).gaps)
    for told in (
        RecordTally.tokens, RecordTally.stalls, RecordTally.errors, RecordTally.connect_ms, RecordTally.clock,
        RecordTally.coalesced, lambda one: (one.retried, one.retried_late, one.unsent, one.target_gone(START_NS)),
    ):  # fmt: skip
        assert told(whole) == told(alone)
        assert len(records) > 1_000 or told(whole) == told(back)
    return whole


@pytest.mark.parametrize(
    ("fields", "compared"),
    [
        ({}, 1),
        ({"tool_calls": 0}, 1),
        ({"tool_calls": 1}, 0),
        ({"reasoning_tokens": 1}, 0),
        ({"reasoning_tokens": 1, "kinds": "tcc"}, 1),
        ({"reasoning_tokens": 1, "chunks_ms": (), "n": 3}, 1),
        ({"reasoning_tokens": 1, "chunks_ms": (50,)}, 0),
    ],
)
def test_usage_is_not_compared_with_the_count_of_a_text_that_does_not_show_every_token(
    fields: dict[str, Any], compared: int
) -> None:
    assert tally(made_record(output_tokens_counted=3, **fields)).tokens().mismatch.compared == compared


def test_chunks_of_a_stream_whose_tokens_are_not_known_are_counted() -> None:
    unknown = [made_record(chunks_ms=(50,), tokens=None), made_record(tokens=None), made_record()]
    whole = made_record(chunks_ms=(), n=3, tokens=None)
    assert tally(*unknown, whole).tokens().chunks.requests_with_unknown_tokens_a_chunk == 2
    assert tally(whole).stalls() == Stalls(requests=0, stalls=0, max_ms=None)
    stalled = [made_record(k, chunks_ms=[*range(50, 60), 400 + k]) for k in range(2)]
    assert tally(*stalled).stalls() == Stalls(requests=2, stalls=2, max_ms=342)
    kinds = tally(made_record(kinds="ctt")).tokens().kinds
    assert (kinds.content.chunks, kinds.reasoning.chunks) == (1, 2)


def test_the_target_is_gone_where_five_requests_and_more_were_lost_after_the_last_answer() -> None:
    def lost(at: float, outcome: Outcome = Outcome.CONNECT_ERROR) -> RequestRecord:
        return made_record(0, sent_ms=at, outcome=outcome, chunks_ms=(), end_ns=START_NS + round(at * MS))

    answer = made_record(1, sent_ms=100, chunks_ms=(50,))
    four = [lost(200.0 + k) for k in range(4)]
    assert tally(answer, *four).target_gone(START_NS) is None
    # The request was lost at the instant of the last answer.
    assert tally(answer, *four, lost(150)).target_gone(START_NS) is None
    assert to_plain(known(tally(answer, *four, lost(151)).target_gone(START_NS))) == {"since_s": 0.15, "requests": 5}
    assert to_plain(known(tally(*four, lost(1)).target_gone(START_NS))) == {"since_s": None, "requests": 5}
    # An error from the server is an answer. A request that the client ended is neither an answer nor a loss.
    assert tally(answer, *four, lost(151), lost(300, Outcome.HTTP_ERROR)).target_gone(START_NS) is None
    assert tally(answer, *four, lost(300, Outcome.INTERRUPTED)).target_gone(START_NS) is None


def test_a_server_that_breaks_off_each_reply_is_not_gone() -> None:
    broken = [made_record(k, sent_ms=100.0 * k, outcome=Outcome.TRUNCATED, chunks_ms=(50, 60)) for k in range(6)]
    assert tally(*broken).target_gone(START_NS) is None
    # Requests in flight when the server died are lost.
    died = [made_record(k, outcome=Outcome.RESET, chunks_ms=(50.0 + k, 60)) for k in range(5)]
    assert to_plain(known(tally(*died).target_gone(START_NS))) == {"since_s": 0.054, "requests": 5}


@pytest.mark.parametrize(("detour_ms", "late"), [(10.0, 0), (10.001, 1)])
def test_a_request_that_the_server_kept_for_over_10_ms_before_it_was_sent_again_is_late(
    detour_ms: float, late: int
) -> None:
    sent_ns = START_NS
    found = tally(
        made_record(0, attempts=2, sent_ns=sent_ns, resent_ns=sent_ns + round(detour_ms * MS)),
        made_record(1, attempts=2),
    )
    assert (found.retried, found.retried_late) == (2, late)


def test_counts_of_unsent_retried_and_coalesced_add_up() -> None:
    found = tally(
        made_record(0, attempts=2, coalesced=2, connect_ns=3 * MS),
        made_record(1, attempts=3, coalesced=1),
        made_record(2, outcome=Outcome.CONNECT_ERROR, sent_ns=None, chunks_ms=()),
        made_record(3, outcome=Outcome.RESET, chunks_ms=()),
        made_record(4, outcome=Outcome.DROPPED, sent_ns=None, chunks_ms=()),
    )
    assert (found.retried, found.unsent) == (2, 1)
    assert found.coalesced() == Coalesced(chunks=3, of=6, share=0.5)
    assert (found.connect_ms().n, found.connect_ms().max) == (1, 3.0)
    assert sum(to_plain(found.clock()).values()) == 3
    assert found.stamp_bounds(LogHistogram().snapshot()).wide_share == 0.0


def test_a_bound_is_wide_beyond_a_tenth_of_a_millisecond_and_a_hundredth_of_the_gap() -> None:
    bounds = (START_NS + 50 * MS - 90_000, START_NS + 60 * MS - 110_000, START_NS + 70 * MS - 300_000)
    found = tally(made_record(0, chunk_bound_ns=bounds), made_record(1))
    none = to_plain(found.stamp_bounds(LogHistogram().snapshot()))
    assert (none["chunks"], none["wide"], none["wide_share"]) == (3, 2, pytest.approx(2 / 6))
    # A hundredth of a gap of 20 ms is 0.2 ms.
    gaps = LogHistogram()
    gaps.extend([20 * MS])
    assert found.stamp_bounds(gaps.snapshot()).wide == 1


def test_prompt_tokens_of_probes_are_a_share_of_all() -> None:
    probe, other = made_record(0, input_tokens=30, probe=0), made_record(1, input_tokens=None, input_tokens_asked=90)
    assert tally(probe, other).tokens().cached.share_of_probes == 0.25
    assert tally(other).tokens().cached.share_of_probes is None


def test_counts_of_one_thing_are_compared_where_both_are_there() -> None:
    found = tally(
        made_record(0, input_tokens_asked=100, output_tokens_asked=3, cached_tokens=20, output_tokens_counted=3),
        made_record(1, input_tokens_asked=90, output_tokens_asked=4, cached_tokens=10, output_tokens_counted=4),
        made_record(
            2, input_tokens=None, input_tokens_asked=50, output_tokens_counted=9, output_tokens_from="tokenizer"
        ),
        made_record(3, chunks_ms=(), n=7, usage_contradiction="7 of 6", output_tokens_counted=5, tool_calls=1),
        made_record(9, usage_contradiction="later"),
        made_record(5, usage_contradiction="earlier", tokens=(1, 2, 1)),
        made_record(6, tokens=None, n=3),
    ).tokens()
    assert to_plain(found.asked) == {"input": 240, "output": 7}
    assert to_plain(found.usage) == {"input": 600, "output": 3 + 3 + 7 + 3 + 4 + 3}
    assert to_plain(found.counted) == {"output": 21}
    assert to_plain(found.counted_by) == {"usage": 6, "tokenizer": 1, "limit": 0, "chunks": 0}
    # Any two prompts may share 15 tokens of a head.
    assert to_plain(found.cached) == {"tokens": 30, "of": 200, "share": 0.15, "share_beyond_head": 5 / 200}
    assert to_plain(found.asked_against_got.input) == {"compared": 2, "differ": 1, "share": 0.5}
    assert to_plain(found.asked_against_got.output) == {"compared": 2, "differ": 1, "share": 0.5}
    assert to_plain(found.mismatch) == {
        "compared": 2,
        "differ": 1,
        "share": 0.5,
        "off_by_one": 1,
        "usage_over_counted": 6 / 7,
    }
    assert to_plain(found.contradicted) == {"judged": 6, "requests": 3, "share": 0.5, "first": "7 of 6"}
    assert to_plain(found.chunks) == {
        "with_tokens": 18, "requests_with_several_tokens_a_chunk": 1, "requests_with_unknown_tokens_a_chunk": 1,
    }  # fmt: skip
    assert to_plain(RecordTally().tokens().usage) == {"input": None, "output": None}


def test_replies_in_doubt_and_over_their_limit_are_counted() -> None:
    found = tally(
        made_record(0, output_tokens_asked=3),
        made_record(8, output_tokens_asked=2, output_tokens_doubt="later"),
        made_record(5, output_tokens_asked=2, output_tokens_from="limit", output_tokens_doubt="earlier"),
        made_record(7),
    ).tokens()
    assert to_plain(found.doubted) == {"judged": 4, "requests": 2, "share": 0.5, "first": "earlier"}
    assert to_plain(found.over_limit) == {"judged": 3, "requests": 2, "share": pytest.approx(2 / 3)}
    assert to_plain(found.asked_against_got.output) == {"compared": 3, "differ": 2, "share": pytest.approx(2 / 3)}
    assert found.counted_by.limit == 1
    none = RecordTally().tokens()
    assert to_plain(none.doubted) == {"judged": 0, "requests": 0, "share": None, "first": None}
    assert to_plain(none.over_limit) == {"judged": 0, "requests": 0, "share": None}


def test_usage_of_inputs_is_judged_where_it_is_there_or_was_not_believed() -> None:
    def judged(**fields: Any) -> int:
        found = tally(made_record(0, chunks_ms=(), output_tokens_from=None, **fields)).tokens()
        return int(found.contradicted.judged)

    wrong = {"usage_contradiction": "-1 input tokens"}
    assert [judged(inputs=2), judged(inputs=2, input_tokens=None)] == [1, 0]
    assert [judged(inputs=2, input_tokens=None, **wrong), judged(input_tokens=None)] == [2, 0]


def failed(error: str | None, status: int | None = 500) -> RequestRecord:
    return made_record(0, outcome=Outcome.HTTP_ERROR, status=status, error=error, chunks_ms=())


def test_errors_are_told_by_how_often_they_came() -> None:
    found = tally(*[failed("b")] * 2, *[failed("a")] * 2, failed(None, None), failed("x" * 600), failed("c"))
    rows = [(row.error, row.status, row.n) for row in found.errors()]
    assert rows[:2] == [("a", 500, 2), ("b", 500, 2)]
    assert (None, None, 1) in rows
    assert ("x" * 500, 500, 1) in rows


def test_errors_beyond_a_thousand_texts_are_counted_together() -> None:
    many = tally(*(failed(f"id {i:04}") for i in range(1_002)), failed("id 0000"))
    assert len(many.errors()) == 50
    assert to_plain(many.errors()[0]) == {"outcome": "http_error", "status": 500, "error": "(other messages)", "n": 2}
    assert many.errors()[1].n == 2
