"""Events that the readers' fast paths must not take: events with more than text, and usage of several choices."""

from __future__ import annotations

from typing import Any

import pytest

from bench.endpoints.chat import ChatCompletions
from bench.endpoints.completions import Completions
from bench.endpoints.usage import ReplyText, token_counts

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(("endpoint", "part"), [(ChatCompletions, "delta"), (Completions, "text")])
def test_an_event_is_plain_where_it_has_text_and_nothing_else_that_counts(endpoint: Any, part: str) -> None:
    def event(text: str | None = "ab", finish: str | None = None, **more: Any) -> dict[str, Any]:
        said = {"delta": {"content": text}} if part == "delta" else {"text": text}
        return {"choices": [{**said, "finish_reason": finish}], **more}

    reader = endpoint()
    assert reader.plain_text(event()) == "ab"
    assert reader.plain_text(event(usage=USAGE)) is None
    assert reader.plain_text(event(finish="stop")) is None
    assert reader.plain_text(event(text="")) is None
    assert reader.plain_text(event(text=None)) is None
    assert reader.plain_text(event(error={"message": "out of memory"})) is None
    assert reader.plain_text(None) is None


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ({"tool_calls": None, "function_call": None}, "ab"),
        ({"tool_calls": []}, "ab"),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, None),
        ({"function_call": {"name": "f"}}, None),
    ],
)
def test_an_event_of_text_that_calls_a_tool_too_is_not_plain(calls: dict[str, Any], text: str | None) -> None:
    event = {"choices": [{"delta": {"content": "ab", **calls}, "finish_reason": None}]}
    assert ChatCompletions().plain_text(event) == text


@pytest.mark.parametrize(("choices", "believed"), [(1, False), (2, True)])
def test_usage_beyond_the_bytes_is_doubted_where_one_choice_was_read(choices: int, believed: bool) -> None:
    text = ReplyText(asked=None, most_bytes=40, token_chunks=40, choices=choices)
    found = token_counts({"prompt_tokens": 3, "completion_tokens": 90}, text)
    assert (found.contradiction is None) is believed
    assert (found.output_tokens == 90) is believed


def test_usage_of_as_many_tokens_as_bytes_is_believed() -> None:
    text = ReplyText(asked=None, most_bytes=40, token_chunks=40)
    assert token_counts({"prompt_tokens": 3, "completion_tokens": 40}, text).contradiction is None
    assert token_counts({"prompt_tokens": 3, "completion_tokens": 0}, text).contradiction is not None
