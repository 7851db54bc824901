"""The OpenAI dialect: samples to bodies, and URLs in every notation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import encode, urls
from bench.endpoints.interface import BodyOptions
from promptset.samples import Sample

CHAT = BodyOptions(endpoint="chat", model="m")
MESSAGES = [{"role": "user", "content": "hi"}]


def body(sample: Sample, options: BodyOptions) -> dict[str, Any]:
    encoded: dict[str, Any] = json.loads(encode(sample, options).body)
    return encoded


# ---- URLs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
def test_root_v1_and_whole_path_mean_the_same(tail: str) -> None:
    assert urls.endpoint_url(f"http://h:8000{tail}", "chat") == "http://h:8000/v1/chat/completions"
    assert urls.models_url(f"http://h:8000{tail}") == "http://h:8000/v1/models"


@pytest.mark.parametrize(
    ("url", "endpoint", "full"),
    [
        ("http://h/v1/completions", "completions", "http://h/v1/completions"),
        ("http://h/proxy/v1", "chat", "http://h/proxy/v1/chat/completions"),
        ("http://h/proxy", "completions", "http://h/proxy/v1/completions"),
        ("http://h/chat/completions", "chat", "http://h/chat/completions"),
        ("https://u:p@h/v1?key=k", "chat", "https://u:p@h/v1/chat/completions?key=k"),
        ("http://[::1]:9/", "chat", "http://[::1]:9/v1/chat/completions"),
        ("https://h/v1beta/openai/", "chat", "https://h/v1beta/openai/chat/completions"),
        ("https://h/api/v3", "chat", "https://h/api/v3/chat/completions"),
        ("https://h/v2", "rerank", "https://h/v2/rerank"),
        ("https://h/api/openai/v1/", "responses", "https://h/api/openai/v1/responses"),
        ("https://h/v1/account/gateway/openai", "chat", "https://h/v1/account/gateway/openai/chat/completions"),
        (
            "https://h/openai/deployments/x?api-version=2024-10-21",
            "chat",
            "https://h/openai/deployments/x/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://h/openai/deployments/x/chat/completions?api-version=1",
            "chat",
            "https://h/openai/deployments/x/chat/completions?api-version=1",
        ),
        ("https://h/vllm2/version", "chat", "https://h/vllm2/version/v1/chat/completions"),
        ("https://h/v2-model", "chat", "https://h/v2-model/v1/chat/completions"),
    ],
)
def test_a_url_keeps_everything_but_its_path(url: str, endpoint: str, full: str) -> None:
    assert urls.endpoint_url(url, endpoint) == full


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://h/v1/chat/completions", "chat"),
        ("http://h/v1/completions/", "completions"),
        ("http://h/v1", None),
        ("http://h/completions?x=/chat/completions", "completions"),
    ],
)
def test_a_whole_path_names_its_endpoint(url: str, endpoint: str | None) -> None:
    assert urls.endpoint_of(url) == endpoint


# ---- Bodies --------------------------------------------------------------------------------------------------------


def test_a_prompt_becomes_a_message_for_chat_and_stays_one_for_completions() -> None:
    sample = Sample(prompt="hi", output_tokens=5)
    common = {"model": "m", "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}}
    assert body(sample, CHAT) == {"messages": MESSAGES, **common}
    assert body(sample, BodyOptions(endpoint="completions", model="m")) == {"prompt": "hi", **common}


def test_messages_are_sent_as_they_are() -> None:
    turns = ({"role": "system", "content": "s"}, *MESSAGES)
    assert body(Sample(messages=turns), CHAT)["messages"] == list(turns)


def test_a_whole_response_is_asked_without_stream_options() -> None:
    sent = body(Sample(prompt="hi"), BodyOptions(endpoint="chat", model="m", stream=False))
    assert sent == {"messages": MESSAGES, "model": "m", "stream": False}


def test_what_a_server_refuses_can_be_left_out() -> None:
    sample = Sample(prompt="hi")
    assert "stream_options" not in body(sample, BodyOptions(endpoint="chat", model="m", ask_usage=False))
    assert "ignore_eos" not in body(sample, CHAT)
    assert body(sample, BodyOptions(endpoint="chat", model="m", ignore_eos=True))["ignore_eos"] is True
    assert "model" not in body(sample, BodyOptions(endpoint="chat", model=None))


def test_a_full_request_body_keeps_its_own_fields() -> None:
    own = {"model": "theirs", "messages": MESSAGES, "temperature": 0.5, "max_completion_tokens": 9, "stream": False}
    sample = Sample(body={**own, "stream_options": {"include_usage": False}})
    encoded = encode(sample, BodyOptions(endpoint="chat", model=None))
    assert json.loads(encoded.body) == {**own, "stream": True, "stream_options": {"include_usage": True}}
    assert encoded.output_tokens_asked == 9
    assert body(sample, CHAT)["model"] == "m"
    assert own["stream"] is False  # The row of the data set must not change, because it is sent again.


@pytest.mark.parametrize(
    ("ignore_eos", "extra", "exact"),
    [
        (True, None, True),
        (False, None, False),
        (True, {"ignore_eos": False}, False),
        (False, {"ignore_eos": True}, True),
        (True, {"top_p": 0.9}, True),
    ],
)
def test_lengths_are_exact_where_the_bodies_that_are_sent_ask_for_it(
    ignore_eos: bool, extra: dict[str, object] | None, exact: bool
) -> None:
    options = BodyOptions(endpoint="chat", model="m", ignore_eos=ignore_eos, extra=extra)
    assert options.exact_lengths is exact
    assert (body(Sample(prompt="hi"), options).get("ignore_eos") is True) is exact


def test_extra_fields_win_over_all_and_decide_what_comes_back() -> None:
    options = BodyOptions(endpoint="chat", model="m", extra={"stream": False, "max_tokens": 3, "top_p": 0.9})
    encoded = encode(Sample(prompt="hi", output_tokens=5), options)
    sent = json.loads(encoded.body)
    assert (sent["top_p"], sent["max_tokens"], sent["stream"]) == (0.9, 3, False)
    assert (encoded.stream, encoded.output_tokens_asked) == (False, 3)


def test_no_tokens_asked_is_none() -> None:
    assert encode(Sample(prompt="hi"), CHAT).output_tokens_asked is None
