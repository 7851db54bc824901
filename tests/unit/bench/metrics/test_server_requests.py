"""Server details about single requests, as numbers of a run, from records made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics.server_requests import COMPUTED, ServerRequests
from bench.records import Outcome, RequestRecord, ServerWords
from bench.results.base import to_plain
from bench.results.server import SAID_TIMES
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.made_summary import made_summary
from tests.support.tables import table_of


def described(*records: RequestRecord) -> dict[str, Any]:
    said = ServerRequests()
    said.add(table_of(*records))
    found = said.describe()
    assert found is not None
    return to_plain(found)


def timed(index: int, queue: float | None, prefill: float, decode: float, ttft: float) -> RequestRecord:
    return made_record(
        index,
        chunks_ms=(ttft, ttft + decode),
        server_queue_ms=queue,
        server_prefill_ms=prefill,
        server_decode_ms=decode,
    )


def test_the_servers_ttft_is_queue_and_prefill_and_what_the_client_has_more_is_outside() -> None:
    found = described(timed(0, 5.0, 20.0, 40.0, 28.0), timed(1, 15.0, 30.0, 60.0, 50.0))
    means = {name: found[f"{name}_ms"]["mean"] for name in ("queue", "prefill", "decode", "ttft", "outside")}
    assert means == pytest.approx({"queue": 10, "prefill": 25, "decode": 50, "ttft": 35, "outside": 4})
    assert (found["outside_ms"]["min"], found["outside_ms"]["max"]) == pytest.approx((3, 5))
    assert (found["drafts"], found["cached"]) == (None, None)


def test_who_says_no_queue_has_a_prefill_and_a_reply_in_one_piece_no_ttft_to_compare() -> None:
    found = described(
        timed(0, None, 20.0, 40.0, 28.0), replace(timed(1, None, 30.0, 60.0, 50.0), chunk_ns=(), chunk_kind="")
    )
    assert (found["queue_ms"]["n"], found["ttft_ms"]["n"], found["outside_ms"]["n"]) == (0, 2, 1)
    assert found["outside_ms"]["mean"] == pytest.approx(8)


def drafted(index: int, steps: int | None, tokens: int, accepted: int, at: tuple[int, ...] | None) -> RequestRecord:
    return made_record(index, draft_steps=steps, draft_tokens=tokens, accepted_tokens=accepted, acceptance=at)


def test_drafts_are_added_up_and_a_step_has_one_token_of_the_models_own() -> None:
    # Four steps with 0, 1, 2 and 2 right drafts; then one with 1 of 1.
    found = described(drafted(0, 4, 8, 5, (3, 2)), drafted(1, 1, 1, 1, (1, 0)))["drafts"]
    assert (found["replies"], found["steps"], found["tokens"], found["accepted"]) == (2, 5, 9, 6)
    assert found["acceptance_rate"] == pytest.approx(6 / 9)
    assert found["tokens_per_step"] == pytest.approx(11 / 5)
    assert found["positions"] == [
        {"position": 1, "accepted": 4, "share": 0.8},
        {"position": 2, "accepted": 2, "share": 0.4},
    ]
    assert [(row["tokens"], row["steps"]) for row in found["steps_by_tokens"]] == [(1, 1), (2, 2), (3, 2)]
    assert sum(row["share"] for row in found["steps_by_tokens"]) == pytest.approx(1)


def test_a_server_that_counts_no_steps_has_a_rate_alone() -> None:
    found = described(drafted(0, None, 12, 9, None))["drafts"]
    assert (found["acceptance_rate"], found["steps"], found["tokens_per_step"]) == (0.75, None, None)
    assert (found["positions"], found["steps_by_tokens"]) == ([], [])


def test_steps_are_of_the_replies_that_tell_their_drafts_too() -> None:
    said = ServerRequests()
    said.add(table_of(drafted(0, 4, 8, 5, (3, 2)), made_record(1, draft_steps=9)))
    said.add(table_of(drafted(2, None, 2, 1, None)))
    found = said.describe()
    assert found is not None
    assert found.drafts is not None
    assert (found.drafts.replies, found.drafts.steps, found.drafts.tokens_per_step) == (2, 4, 1 + 5 / 4)


def test_no_drafts_at_all_have_no_rate() -> None:
    found = described(drafted(0, 0, 0, 0, (0, 0)))["drafts"]
    assert (found["steps"], found["acceptance_rate"], found["tokens_per_step"]) == (0, None, None)
    assert [row["share"] for row in found["positions"]] == [None, None]


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=5))
def test_steps_by_tokens_are_the_steps_that_were_made(requests: list[list[int]]) -> None:
    """Each request lists the accepted drafts of each of its steps, out of three."""
    records = [
        drafted(i, len(steps), 3 * len(steps), sum(steps), tuple([sum(n >= at for n in steps) for at in (1, 2, 3)]))
        for i, steps in enumerate(requests)
    ]
    found = described(*records)["drafts"]
    every = [n for steps in requests for n in steps]
    assert [row["steps"] for row in found["steps_by_tokens"]] == [every.count(n) for n in range(4)]
    tokens = sum(row["tokens"] * row["steps"] for row in found["steps_by_tokens"])
    assert tokens == len(every) + found["accepted"]


def test_the_share_of_cached_tokens_is_of_the_replies_that_say_it() -> None:
    found = described(
        replace(timed(0, 1.0, 2.0, 3.0, 4.0), input_tokens=100, cached_tokens=64),
        replace(timed(1, 1.0, 2.0, 3.0, 4.0), input_tokens=100, cached_tokens=None),
        replace(timed(2, 1.0, 2.0, 3.0, 4.0), input_tokens=60, cached_tokens=0),
    )
    assert found["cached"] == {"replies": 2, "tokens": 64, "of": 160, "share": 0.4}


def test_a_run_whose_replies_say_nothing_of_it_has_no_block() -> None:
    assert ServerRequests().describe() is None
    assert "server_requests" not in made_summary([made_record(i, cached_tokens=5) for i in range(3)])


def test_what_failed_and_what_came_before_the_run_is_not_in_it() -> None:
    good = timed(0, 5.0, 20.0, 40.0, 28.0)
    others = [replace(good, id="w", index=1, phase="warmup"), replace(good, id="f", index=2, outcome=Outcome.RESET)]
    found = made_summary([good, *others])["server_requests"]
    assert found["queue_ms"]["n"] == 1


def test_each_time_of_a_record_is_in_the_summary_and_each_time_of_the_summary_has_a_source() -> None:
    recorded = {name.removeprefix("server_") for name in ServerWords.__struct_fields__ if name.startswith("server_")}
    assert {*SAID_TIMES} == recorded | {*COMPUTED}
    assert [key for key, time in SAID_TIMES.items() if not time.title or not time.description] == []
