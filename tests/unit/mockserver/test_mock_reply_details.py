"""Details in replies about the work on their requests: in the form of vLLM and llama.cpp, where they appear, and when
they are omitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mockserver.config import load
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.messages import MESSAGES
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.responses import RESPONSES
from mockserver.engine.work import Drafts, Work
from mockserver.errors import UsageError
from mockserver.replies.choice import ReplyStyle
from tests.support.played_reply import Played

MS = 1_000_000
DRAFTS = Drafts(7, (1, 1, 1))
"""Of three steps one accepted none of its drafts, one accepted one, and one both."""
WORK = Work(3 * MS, 20 * MS, 90 * MS, 4, DRAFTS)

TIMES = {
    "time_to_first_token_ms": 20.0,
    "generation_time_ms": 90.0,
    "queue_time_ms": 3.0,
    "mean_itl_ms": 30.0,  # 4 tokens have 3 gaps.
    "tokens_per_second": pytest.approx(4 / 0.11),  # From the first step on.
}
ACCEPTANCE = {
    "mean_acceptance_length": 2.0,  # One of these tokens is the model's own.
    "draft_acceptance_rate": 3 / 7,
    "acceptance_histogram": [1, 1, 1],
    "num_spec_steps": 3,
    "num_accepted_draft_tokens": 3,
    "num_draft_tokens": 7,
    "num_spec_tokens": 2,
}
TIMINGS = {
    "cache_n": 4,
    "prompt_n": 1,
    "prompt_ms": 20.0,
    "prompt_per_token_ms": 20.0,
    "prompt_per_second": 50.0,
    "predicted_n": 4,
    "predicted_ms": 90.0,
    "predicted_per_token_ms": 22.5,
    "predicted_per_second": pytest.approx(4 / 0.09),
    "draft_n": 7,
    "draft_n_accepted": 3,
}


def last(endpoint: Endpoint, *details: str, work: Work | None = WORK, stream: bool = True) -> dict[str, Any]:
    """The last event before the end of a stream (four tokens after a prompt of five), or the body."""
    played = Played(endpoint=endpoint, form=ReplyStyle(details=frozenset(details)), usage=True, stream=stream)
    played.reply.writer.work = lambda: work
    played.play()
    if not stream:
        (body,) = [said[1] for said in played.wire.said if isinstance(said, tuple)]
        found: dict[str, Any] = json.loads(body)
        return found
    data = [line.partition("data: ")[2] for line in b"".join(played.writes).decode().splitlines() if "data: {" in line]
    return [json.loads(one) for one in data if '"usage"' in one][-1]  # type: ignore[no-any-return]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETION])
def test_vllms_words_stand_beside_the_usage(endpoint: Endpoint, stream: bool) -> None:
    said = last(endpoint, "cached_tokens", "metrics", "speculative_decoding", stream=stream)
    assert said["usage"] == {
        "prompt_tokens": 5,
        "total_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert said["metrics"] == {**TIMES, "speculative_decoding": ACCEPTANCE}
    assert "timings" not in said


@pytest.mark.parametrize(
    ("endpoint", "stream"),
    [(CHAT, True), (CHAT, False), (COMPLETION, True), (COMPLETION, False), (RESPONSES, True)],
)
def test_so_do_the_timings_of_llama_cpp(endpoint: Endpoint, stream: bool) -> None:
    said = last(endpoint, "timings", stream=stream)
    assert said["timings"] == TIMINGS
    assert "metrics" not in said


def test_each_detail_comes_alone() -> None:
    assert last(CHAT, "metrics")["metrics"] == TIMES
    assert last(CHAT, "speculative_decoding")["metrics"] == {"speculative_decoding": ACCEPTANCE}
    assert last(CHAT, "cached_tokens").keys() == last(CHAT).keys()
    assert "prompt_tokens_details" not in last(CHAT, "metrics")["usage"]


def test_other_dialects_and_replies_of_several_choices_say_nothing() -> None:
    every = ("cached_tokens", "metrics", "speculative_decoding", "timings")
    assert last(MESSAGES, *every).keys() == last(MESSAGES).keys()
    assert last(CHAT, *every, work=None) == last(CHAT)
    # llama.cpp leaves timings out of whole responses.
    assert last(RESPONSES, "timings", stream=False) == last(RESPONSES, stream=False)


@pytest.mark.parametrize("stream", [True, False])
def test_responses_have_vllms_times_inside_and_say_nothing_of_drafts(stream: bool) -> None:
    said = last(RESPONSES, "metrics", "speculative_decoding", stream=stream)
    response = said["response"] if stream else said
    assert response["metrics"] == TIMES
    assert said.keys() == last(RESPONSES, stream=stream).keys() | (set() if stream else {"metrics"})


def test_what_has_not_happened_is_left_out() -> None:
    assert last(CHAT, "metrics", work=Work(queue_ns=0))["metrics"] == {"queue_time_ms": 0.0}
    assert "metrics" not in last(CHAT, "speculative_decoding", work=Work(queue_ns=0))
    # vLLM without a prefix cache reports 0.
    assert last(CHAT, "cached_tokens", work=Work())["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert last(CHAT, "timings", work=Work(cached_tokens=5))["timings"]["prompt_per_token_ms"] is None


def test_a_running_usage_has_no_details() -> None:
    played = Played(form=ReplyStyle(details=frozenset({"cached_tokens", "metrics"})), usage=True, continuous=True)
    played.reply.writer.work = lambda: WORK
    *running, end = [json.loads(one) for one in played.play().data if one != "[DONE]"]
    assert not [one for one in running if "metrics" in one or "prompt_tokens_details" in one["usage"]]
    assert end["metrics"] == TIMES


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"reply_details": ["cached_tokens"]},
            "--reply-details cached_tokens: only --engine batching has a prefix cache",
        ),
        ({"reply_details": "speculative_decoding"}, "add --num-speculative-tokens"),
        ({"reply_details": ["speed"]}, "'cached_tokens', 'metrics', 'speculative_decoding' or 'timings'"),
    ],
)
def test_what_nobody_could_say_is_refused(flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        load(None, flags)
    assert sentence in str(raised.value)
