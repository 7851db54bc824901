"""What servers report: failures of replies, token counts, and times of their work; and which of it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from bench.endpoints.failure import ending_of, error_message, error_of, excerpt, is_chunk, is_lost_response, page_title
from bench.endpoints.server_words import SILENT, server_words
from bench.endpoints.typed_events import sum_of, text_of, words
from bench.endpoints.usage import ReplyText, cached_tokens, input_tokens, reasoning_tokens, token_counts, whole_number
from bench.endpoints.whole_reply import WholeText
from bench.records import MOST_TOKENS

TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}


# ---- Signs that a reply failed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"choices": [CHOICE]}, None),
        ({"choices": [], "usage": {"completion_tokens": 1}}, None),
        ({"choices": [CHOICE], "error": "no"}, "no"),
        ({"choices": [CHOICE], "error": None}, None),
        ({"choices": [CHOICE | {"error": "no"}]}, "no"),
        ({"choices": [CHOICE | {"delta": {"error": "no"}}]}, "no"),
        ({"choices": [CHOICE | {"delta": None, "error": "no"}]}, "no"),
        ({"choices": [CHOICE | {"delta": "x"}]}, None),
        ({"choices": [{"message": {"error": "no"}}]}, "no"),
        ({"choices": [CHOICE, CHOICE | {"error": "no"}]}, "no"),
        ({"choices": [CHOICE], "object": "error", "message": "no"}, "no"),
        ({"choices": [{"delta": None}], "object": "error", "message": "no"}, "no"),
        ({"choices": [CHOICE], "x_groq": {"error": "no"}}, "no"),
        ({"choices": [CHOICE], "x_groq": {"id": "r"}}, None),
        ({"type": "error", "message": "no"}, "no"),
        ({"base_resp": {"status_code": 1004, "status_msg": "no"}, "choices": None}, "no"),
        ({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [CHOICE]}, None),
        ({"choices": [CHOICE], "success": False, "message": "no"}, "no"),
        ({"choices": [CHOICE], "success": True}, None),
        ({"choices": [CHOICE], "errors": ["no"]}, '{"errors":["no"]}'),
        ({"choices": [CHOICE], "error_code": 7, "error_msg": "no"}, "no"),
        ({"choices": [CHOICE], "error_code": 7}, '{"error_code":7}'),
        ({"choices": [CHOICE], "error_message": "no"}, "no"),
        ({"choices": [CHOICE], "error_msg": "no"}, "no"),
        ({"choices": [CHOICE], "detail": "no"}, "no"),
        ({"choices": [CHOICE], "code": 10013, "message": "no"}, "no"),
        ({"choices": [CHOICE], "code": 0, "message": "Success"}, None),
        ({"choices": [CHOICE], "code": 200, "message": "all is well"}, None),
        ({"choices": [CHOICE], "code": "200", "message": "all is well"}, None),
        ({"choices": [CHOICE], "code": 201, "message": "no"}, "no"),
        ({"choices": [CHOICE], "code": 10013}, None),
        ({"choices": [CHOICE], "status": 400}, '{"status":400}'),
        ({"choices": [CHOICE], "status": 399}, None),
        ({"choices": [CHOICE], "status": "Failed"}, '{"status":"Failed"}'),
        ({"choices": [CHOICE], "status": "ok"}, None),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": ""}, None),
        ({"message": "no", "usage": {"completion_tokens": 1}, "code": 0}, None),
        ({"error": True, "message": "no"}, "no"),
        ({"error": "Validation", "message": "too long"}, 'Validation: too long'),
        ({"error": {"message": {"detail": "deep"}}}, "deep"),
        ({"error": {"error": {"message": "deeper"}}}, "deeper"),
        ({"error": {"detail": [{"msg": "x"}]}}, '[{"msg":"x"}]'),
        ({"error": {"message": 5}}, '{"message":5}'),
        ({"title": "no"}, "no"),
        ({"id": "x"}, None),
    ],
)  # fmt: skip
def test_an_event_says_whether_the_reply_failed(event: dict[str, Any], said: str | None) -> None:
    assert error_of(event) == said


@pytest.mark.parametrize(
    ("event", "chunk"),
    [
        ({"choices": []}, True), ({"usage": {}}, True), ({"type": "ping"}, True),
        ({"object": "text_completion.chunk"}, True), ({"choices": None}, False), ({"object": "list"}, False),
    ],
)  # fmt: skip
def test_a_chunk_has_choices_or_usage_or_says_that_it_is_one(event: dict[str, Any], chunk: bool) -> None:
    assert is_chunk(event) is chunk


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([{"finish_reason": None}], (False, None)),
        ([{"finish_reason": ""}], (False, None)),
        ([{"finish_reason": "STOP"}], (True, None)),
        ([{"finish_reason": None}, {"finish_reason": "length"}], (True, None)),
        (
            [{"finish_reason": "abort", "stop_reason": "gone"}],
            (True, "the reply ended with finish_reason 'abort': gone"),
        ),
        ([{"finish_reason": "abort", "stop_reason": 7}], (True, "the reply ended with finish_reason 'abort'")),
        (
            [{"finish_reason": {"type": "abort", "message": "gone"}}],
            (True, "the reply ended with finish_reason 'abort': gone"),
        ),
        ([{"finish_reason": {"type": "stop", "matched": 2}}], (True, None)),
        ([{"finish_reason": 3}], (True, "the reply ended with finish_reason '3'")),
        ([{"finish_reason": "stop"}, {"finish_reason": "abort"}], (True, "the reply ended with finish_reason 'abort'")),
    ],
)
def test_a_finish_reason_means_an_end_or_a_failure(choices: list[Any], expected: tuple[bool, str | None]) -> None:
    ended, wrong = ending_of({"choices": choices})
    assert (bool(ended), wrong) == expected


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        (b'{"error":{"code":"previous_response_not_found"}}', True),
        (b'{"code":"previous_response_not_found"}', True),
        (b'{"error":{"code":404,"param":"response_id"}}', True),
        (b'{"error":{"code":400,"param":"response_id"}}', False),
        (b'{"error":{"code":null,"param":"previous_response_id"},"status":404}', True),
        (b'{"error":{"code":404,"param":"model"}}', False),
        (b'[404]', False),
        (b'{"error"', False),
    ],
)  # fmt: skip
def test_a_lost_response_is_told_in_the_words_of_each_server(body: bytes, lost: bool) -> None:
    assert is_lost_response(body) is lost


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b"<html><title> 502 Bad </title>", " ('502 Bad')"),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML><TITLE>x</TITLE>", " ('x')"),
        (b"<head><title></title>", ""),
        (b"<body>x", ""),
        (b"<html></title><title>x", ""),
        (b"plain", None),
    ],
)
def test_a_page_has_a_title_or_none(body: bytes, title: str | None) -> None:
    assert page_title(body) == title


def test_an_excerpt_is_200_bytes() -> None:
    assert excerpt(b"x" * 200) == repr("x" * 200)
    assert excerpt(b"x" * 201) == repr("x" * 200) + " ..."
    assert error_message(b'{"error":"' + b"x" * 600 + b'"}') == "x" * 500


# ---- Messages and numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said_so"),
    [
        ({"error": "x" * 600}, "x" * 500),
        ({"response": {"error": {"code": "c", "message": "m"}}}, "c: m"),
        ({"error": {"type": "error", "code": "c", "message": "m"}}, "c: m"),
        ({"error": {"type": "", "message": "m"}}, "m"),
        ({"error": {"code": 7}}, '{"code":7}'),
        ({"message": "m", "code": "c"}, "c: m"),
        ({"response": {"status": "failed"}}, "the reply ended with status 'failed'"),
        ({"detail": "no"}, "no"),
        ({"id": 1}, '{"id":1}'),
    ],
)
def test_the_words_of_an_event_that_failed(event: dict[str, Any], said_so: str) -> None:
    assert words(event) == said_so


def test_texts_and_sums_of_what_servers_send() -> None:
    assert [text_of(value) for value in ("a", {"b": 1}, {}, 3, None)] == ["a", '{"b":1}', "", "", ""]
    assert [sum_of(values) for values in ([1, None, 2], [None], [], [1, "x"], [0])] == [3, None, None, "x", 0]
    numbers = (0, -3, MOST_TOKENS, MOST_TOKENS + 1, -MOST_TOKENS - 1, True, 1.0, 1.5, float("inf"), float("nan"))
    assert [whole_number(value) for value in numbers] == [0, -3, MOST_TOKENS, None, None, None, 1, None, None, None]
    assert isinstance(whole_number(1.0), int)


def test_cached_and_reasoning_tokens_are_numbers_from_nothing_on() -> None:
    assert cached_tokens({"prompt_tokens_details": {"cached_tokens": 0}}, {"cache_n": 5}) == 0
    assert cached_tokens({"prompt_tokens_details": {"cached_tokens": -1}}, {"cache_n": 5}) == 5
    assert cached_tokens(None, {"cache_n": 5}) == 5
    assert cached_tokens({"prompt_tokens_details": 3}, None) is None
    assert [reasoning_tokens({"completion_tokens_details": {"reasoning_tokens": n}}) for n in (0, 3, -1)] == [
        0,
        3,
        None,
    ]
    assert reasoning_tokens({"completion_tokens_details": 3}) is None
    assert reasoning_tokens(None) is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"usage": {"prompt_tokens": 3, "total_tokens": 5}}, (3, None)),
        ({"usage": {"total_tokens": 5}}, (5, None)),
        ({"meta": {"tokens": {"input_tokens": 4}, "billed_units": {"input_tokens": 9}}}, (4, None)),
        ({"meta": {"tokens": {}, "billed_units": {"input_tokens": 9}}}, (9, None)),
        ({"meta": {"billed_units": 3}}, (None, None)),
        ({"usage": {"prompt_tokens": -3}}, (None, "usage says '-3' input tokens")),
        ({}, (None, None)),
    ],
)
def test_input_tokens_of_replies_without_output(reply: dict[str, Any], expected: tuple[int | None, str | None]) -> None:
    assert input_tokens(reply) == expected


def test_usage_at_the_borders_of_what_can_be() -> None:
    def why(tokens: int, **fields: Any) -> str | None:
        details = fields.pop("details", None)
        given = {"asked": None, "most_bytes": 16, "token_chunks": 4} | fields
        return token_counts(
            {"completion_tokens": tokens, "completion_tokens_details": details}, ReplyText(**given)
        ).contradiction

    # A token per byte, and 16 tokens without text.
    assert why(32) is None
    assert why(33) is not None
    assert why(36, details={"reasoning_tokens": 3, "audio_tokens": 1, "rejected_prediction_tokens": -5}) is None
    assert why(37, details={"reasoning_tokens": 3, "audio_tokens": 1}) is not None
    # Our count may be at most twice the usage, plus 16.
    assert why(4, counted=24) is None
    assert why(4, counted=25) is not None
    # What is asked for is that of all choices.
    assert why(8, asked=8, choices=2) is None
    assert why(9, asked=8, choices=2) is not None
    assert why(9, asked=8, choices=2, counted=9) is None


@pytest.mark.parametrize(
    ("metrics", "timings", "expected"),
    [
        (None, None, {}),
        ({"queue_time_ms": 0, "time_to_first_token_ms": 3.5, "generation_time_ms": 9}, None,
         {"server_queue_ms": 0.0, "server_prefill_ms": 3.5, "server_decode_ms": 9.0}),
        ({"queue_time_ms": -1, "time_to_first_token_ms": True, "generation_time_ms": "9"},
         {"prompt_ms": 2, "predicted_ms": 4}, {"server_prefill_ms": 2.0, "server_decode_ms": 4.0}),
        ({"generation_time_ms": float("inf")}, None, {}),
        (None, {"draft_n": 9, "draft_n_accepted": 9}, {"draft_tokens": 9, "accepted_tokens": 9}),
        (None, {"draft_n": 8, "draft_n_accepted": 9}, {}),
        ({"speculative_decoding": {"num_draft_tokens": 0, "num_accepted_draft_tokens": 0}},
         {"draft_n": 5, "draft_n_accepted": 5}, {"draft_tokens": 0, "accepted_tokens": 0}),
        ({"speculative_decoding": {"num_spec_steps": 6, "acceptance_histogram": [1, 2, 3]}}, None,
         {"draft_steps": 6, "acceptance": (5, 3)}),
        ({"speculative_decoding": {"num_spec_steps": 5, "acceptance_histogram": [5]}}, None,
         {"draft_steps": 5, "acceptance": ()}),
        ({"speculative_decoding": {"num_spec_steps": 0, "acceptance_histogram": []}}, None, {"draft_steps": 0}),
        ({"speculative_decoding": {"num_spec_steps": 7, "acceptance_histogram": [1, 2, 3]}}, None, {"draft_steps": 7}),
        ({"speculative_decoding": {"num_spec_steps": 3, "acceptance_histogram": [1, 2, -1]}}, None, {"draft_steps": 3}),
        ({"speculative_decoding": {"num_spec_steps": 1, "acceptance_histogram": [1] + [0] * 1000}}, None,
         {"draft_steps": 1, "acceptance": (0,) * 1000}),
        ({"speculative_decoding": {"num_spec_steps": 1, "acceptance_histogram": [1] + [0] * 1001}}, None, {"draft_steps": 1}),
    ],
)  # fmt: skip
def test_what_a_server_says_of_a_request_is_believed_where_it_can_be(
    metrics: object, timings: object, expected: dict[str, Any]
) -> None:
    found = server_words(metrics, timings)
    assert {
        name: getattr(found, name) for name in SILENT.__struct_fields__ if getattr(found, name) is not None
    } == expected


def test_a_reply_says_that_it_ended_unless_it_says_otherwise() -> None:
    whole = WholeText(text="", content="", calls=0, usage=None, root={}, end_field="x", reason=None, wrong=None)
    assert (whole.ended, whole.choices) == (True, 1)
