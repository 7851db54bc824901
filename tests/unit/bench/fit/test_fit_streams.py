"""What a record reveals about the server's work."""

from __future__ import annotations

from typing import Any

import pytest

from bench.fit.streams import Stream, streams_of
from bench.records import Outcome
from tests.support.made_records import MS, START_NS, made_record


def stream_of(**fields: Any) -> Stream:
    (stream,) = streams_of([made_record(**fields)], START_NS)
    return stream


def test_times_are_us_of_the_run_and_only_chunks_with_text_count() -> None:
    stream = stream_of(
        sent_ms=4.0,
        chunks_ms=(1.5, 2.5, 3.5, 9.0),
        kinds="ccuc",
        tokens=(1, 3, 0, 2),
        input_tokens=40,
        cached_tokens=16,
        end_ns=START_NS + 15 * MS,
    )
    assert stream == Stream(4000.0, 15000.0, 40, 16, (5500.0, 6500.0, 13000.0), (1, 3, 2), sure=True)
    assert stream.generated == 6


def test_without_a_zero_times_are_those_of_the_clock() -> None:
    (stream,) = streams_of([made_record(sent_ns=5_000_000)])
    assert stream.sent_us == 5000.0


def test_streams_are_in_the_order_of_sending_and_what_was_never_sent_is_none() -> None:
    records = [made_record(0, sent_ms=9.0), made_record(1, sent_ms=2.0), made_record(2, sent_ns=None, chunks_ms=())]
    assert [stream.sent_us for stream in streams_of(records, START_NS)] == [2000.0, 9000.0]


@pytest.mark.parametrize(
    ("prompt", "cached", "fresh"),
    [(100, None, 100), (100, 30, 70), (100, 99, 1), (100, 100, 1), (3, 5, 1), (1, 0, 1), (2, 0, 2)],
)
def test_the_server_computes_what_was_not_cached_and_always_the_last_token(
    prompt: int, cached: int | None, fresh: int
) -> None:
    stream = stream_of(input_tokens=prompt, cached_tokens=cached)
    assert (stream.prompt_tokens, stream.fresh_tokens) == (prompt, fresh)
    assert stream.cached_tokens == (cached or 0)


@pytest.mark.parametrize(
    ("fields", "sure"),
    [
        ({}, True),
        ({"outcome": Outcome.HTTP_ERROR}, False),
        ({"input_tokens": None}, False),
        ({"chunks_ms": (), "tokens": ()}, False),
        ({"tokens": (1, 0, 1)}, False),
        ({"tokens": (1, 1, 5)}, True),
        ({"tokens": None, "output_tokens": 3}, True),
        ({"tokens": None, "output_tokens": 4}, False),
        ({"tokens": None, "output_tokens": None}, False),
    ],
    ids=str,
)
def test_work_is_sure_where_the_reply_is_whole_and_all_its_tokens_are_known(fields: dict[str, Any], sure: bool) -> None:
    assert stream_of(**fields).sure is sure


@pytest.mark.parametrize("prompt", [None, 0])
def test_a_prompt_of_unknown_length_has_a_token(prompt: int | None) -> None:
    assert stream_of(input_tokens=prompt).prompt_tokens == 1


def test_chunks_without_counts_have_a_token_each() -> None:
    assert stream_of(tokens=None, output_tokens=3).tokens == (1, 1, 1)
