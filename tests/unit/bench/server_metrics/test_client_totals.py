"""The client's counts, from one table and from many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.records import Outcome, RequestRecord
from bench.server_metrics.client_totals import ClientTotals, Reported
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of

ONE: dict[str, Any] = {"input_tokens": 10, "cached_tokens": 4}
RECORDS = [
    made_record(0, sent_ms=0, chunks_ms=(50.0, 60.0), **ONE),
    made_record(1, sent_ms=100, chunks_ms=(30.0, 60.0, 95.0), **ONE),
    made_record(2, sent_ms=20, chunks_ms=(40.0, 60.0, 70.0), input_tokens=7),
]


def added(*records: RequestRecord, **of: bool) -> ClientTotals:
    totals = ClientTotals(**of)
    totals.add(table_of(*records))
    return totals


def one_by_one(*records: RequestRecord) -> ClientTotals:
    totals = ClientTotals()
    for record in records:
        totals.add(table_of(record))
    return totals


def told(found: ClientTotals) -> dict[str, Any]:
    names = ("sent", "succeeded", "unsure", "sent_again", "cancelled", "inputs", "input_tokens", "output_tokens")
    details = ("cached_tokens", "draft_steps", "draft_tokens", "accepted_tokens")
    return {name: getattr(found, name) for name in (*names, *details)} | {"end_ms": (found.last_end_ns - START_NS) / MS}


def test_a_sum_says_how_many_said_it_and_how_many_did_not() -> None:
    said = Reported()
    said.add(np.array([True, False, True, True, False]), np.array([3, 0, 0, 5, 0]))
    assert said == Reported(total=8, by=3, silent=2)
    said.add(np.array([False]), np.array([7]))
    assert said == Reported(total=8, by=3, silent=3)


@pytest.mark.parametrize("count", [added, one_by_one])
def test_successful_requests_are_added_up(count: Any) -> None:
    silent = Reported(0, 0, 3)
    assert told(count(*RECORDS)) == {
        "sent": 3, "succeeded": 3, "unsure": 0, "sent_again": 0, "cancelled": 0, "inputs": None,
        "input_tokens": 27, "output_tokens": 8, "cached_tokens": Reported(8, 2, 1),
        "draft_steps": silent, "draft_tokens": silent, "accepted_tokens": silent, "end_ms": 195,
    }  # fmt: skip
    assert count(*RECORDS).ttfts_s == pytest.approx([0.03, 0.04, 0.05])
    assert count(*RECORDS).ttft_mean_s == pytest.approx(0.04)


@pytest.mark.parametrize("count", [added, one_by_one])
def test_first_attempts_may_have_been_counted_too(count: Any) -> None:
    again = made_record(3, attempts=2)
    found = count(*RECORDS, again)
    assert (found.sent, found.succeeded, found.unsure, found.sent_again) == (4, 4, 1, 1)
    assert found.unsure_text == "1 first attempts of requests that were sent again"


@pytest.mark.parametrize("count", [added, one_by_one])
def test_one_reply_that_does_not_say_its_tokens_leaves_the_sum_unknown(count: Any) -> None:
    unsaid = made_record(3, input_tokens=None)
    assert (count(*RECORDS, unsaid).input_tokens, count(unsaid, *RECORDS).input_tokens) == (None, None)
    counted = made_record(3, output_tokens_from="chunks")
    assert (count(*RECORDS, counted).output_tokens, count(counted, *RECORDS).output_tokens) == (None, None)
    assert count(*RECORDS, counted).input_tokens == 127


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
        Reported(10, 2, 1), Reported(30, 2, 1), Reported(18, 2, 1),
    )  # fmt: skip
    embedded = [made_record(place, chunks_ms=(), inputs=inputs) for place, inputs in enumerate((3, 4, None))]
    assert added(*embedded).inputs == 7
    assert added(made_record(0)).inputs is None


def test_without_replies_there_is_no_mean() -> None:
    assert (added().ttft_mean_s, added().ttfts_s, added().last_end_ns) == (None, [], 0)
