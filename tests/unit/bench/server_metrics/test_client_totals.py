"""What the client counted, record by record and in blocks."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.block_times import BlockTimes
from bench.records import Outcome, RequestRecord, to_line
from bench.run_files import record_blocks
from bench.server_metrics.client_totals import ClientTotals, Said
from tests.support.made_records import MS, START_NS, made_record

ONE: dict[str, Any] = {"input_tokens": 10, "cached_tokens": 4}
RECORDS = [
    made_record(0, sent_ms=0, chunks_ms=(50.0, 60.0), **ONE),
    made_record(1, sent_ms=100, chunks_ms=(30.0, 60.0, 95.0), **ONE),
    made_record(2, sent_ms=20, chunks_ms=(40.0, 60.0, 70.0), input_tokens=7),
]


def added(*records: RequestRecord, **of: bool) -> ClientTotals:
    found = ClientTotals(**of)
    for record in records:
        found.add(record)
    return found


def in_block(*records: RequestRecord, into: ClientTotals | None = None) -> ClientTotals:
    found = ClientTotals() if into is None else into
    (block,) = record_blocks.read(enumerate(map(to_line, records), 1), "records")
    assert isinstance(block, record_blocks.PlainBlock)
    found.add_block(BlockTimes(block, START_NS))
    return found


def told(found: ClientTotals) -> dict[str, Any]:
    names = ("sent", "succeeded", "unsure", "sent_again", "cancelled", "inputs", "input_tokens", "output_tokens")
    details = ("cached_tokens", "draft_steps", "draft_tokens", "accepted_tokens")
    return {name: getattr(found, name) for name in (*names, *details)} | {"end_ms": (found.last_end_ns - START_NS) / MS}


def test_a_sum_says_how_many_said_it_and_how_many_did_not() -> None:
    said = Said()
    for value in (3, None, 0, 5, None):
        said.add(value)
    assert said == Said(total=8, by=3, silent=2)
    said.add_all([4, None, 6, 1, None, None])
    assert said == Said(total=19, by=6, silent=5)
    said.add_all([])
    assert said == Said(total=19, by=6, silent=5)


@pytest.mark.parametrize("count", [added, in_block])
def test_successful_requests_are_added_up(count: Any) -> None:
    silent = Said(0, 0, 3)
    assert told(count(*RECORDS)) == {
        "sent": 3, "succeeded": 3, "unsure": 0, "sent_again": 0, "cancelled": 0, "inputs": None,
        "input_tokens": 27, "output_tokens": 8, "cached_tokens": Said(8, 2, 1),
        "draft_steps": silent, "draft_tokens": silent, "accepted_tokens": silent, "end_ms": 195,
    }  # fmt: skip
    assert count(*RECORDS).ttfts_s == pytest.approx([0.03, 0.04, 0.05])
    assert count(*RECORDS).ttft_mean_s == pytest.approx(0.04)


@pytest.mark.parametrize("count", [added, in_block])
def test_first_attempts_may_have_been_counted_too(count: Any) -> None:
    again = made_record(3, attempts=2)
    found = count(*RECORDS, again)
    assert (found.sent, found.succeeded, found.unsure, found.sent_again) == (4, 4, 1, 1)
    assert found.unsure_text == "1 first attempts of requests that were sent again"


@pytest.mark.parametrize("count", [added, in_block])
def test_one_reply_that_does_not_say_its_tokens_leaves_the_sum_unknown(count: Any) -> None:
    unsaid = made_record(3, input_tokens=None)
    assert (count(*RECORDS, unsaid).input_tokens, count(unsaid, *RECORDS).input_tokens) == (None, None)
    counted = made_record(3, output_tokens_from="chunks")
    assert (count(*RECORDS, counted).output_tokens, count(counted, *RECORDS).output_tokens) == (None, None)
    assert count(*RECORDS, counted).input_tokens == 127


def test_two_blocks_are_added_to_what_was_there() -> None:
    again = made_record(3, sent_ms=500, attempts=2)
    early = made_record(4, sent_ms=1)
    found = added(*RECORDS)
    in_block(again, into=found)
    in_block(early, early, into=found)
    assert told(found) == told(added(*RECORDS, again, early, early))
    assert (found.sent, found.draft_steps.silent, found.unsure, found.last_end_ns) == (6, 6, 1, again.end_ns)
    assert len(found.ttfts_s) == 6


def test_what_did_not_succeed_is_unsure_and_tells_nothing_else() -> None:
    failed = [
        made_record(3, outcome=Outcome.RESET, end_ns=START_NS + 900 * MS),
        made_record(4, outcome=Outcome.CANCELLED),
        made_record(5, outcome=Outcome.CONNECT_ERROR, sent_ns=None),
    ]
    found = added(*RECORDS, *failed)
    assert told(found) == told(added(*RECORDS)) | {"sent": 5, "unsure": 2, "cancelled": 1, "end_ms": 900}
    assert (found.unsure_text, found.incomplete) == ("2 requests that did not succeed", False)
    assert added(incomplete=True).incomplete


def test_what_is_unsure_is_said_in_parts() -> None:
    again = made_record(6, attempts=2)
    lost = made_record(7, outcome=Outcome.RESET)
    assert added(again, again, lost).unsure_text == (
        "1 requests that did not succeed and the 2 first attempts of requests that were sent again"
    )
    assert added(again).unsure_text == "1 first attempts of requests that were sent again"
    assert added().unsure_text == "0 requests that did not succeed"


def test_drafts_and_inputs_are_added_up() -> None:
    drafting = made_record(0, draft_steps=5, draft_tokens=15, accepted_tokens=9)
    found = added(drafting, drafting, made_record(1))
    assert (found.draft_steps, found.draft_tokens, found.accepted_tokens) == (
        Said(10, 2, 1), Said(30, 2, 1), Said(18, 2, 1),
    )  # fmt: skip
    embedded = [made_record(place, chunks_ms=(), inputs=inputs) for place, inputs in enumerate((3, 4, None))]
    assert added(*embedded).inputs == 7
    assert added(made_record(0)).inputs is None


def test_without_replies_there_is_no_mean() -> None:
    assert (added().ttft_mean_s, added().ttfts_s, added().last_end_ns) == (None, [], 0)
