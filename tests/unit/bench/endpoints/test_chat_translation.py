"""One chat in three formats: histories with tool calls and images, tools, and the choice of a tool."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.endpoints import chat_translation as to
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from promptset.samples import Sample

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"x"}'}}
OTHER = {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": ""}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "be"},
    {"role": "developer", "content": "brief"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "let me see", "tool_calls": [CALL, OTHER]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    {"role": "assistant", "content": "it rains"},
    {"role": "user", "content": [{"type": "text", "text": "look"}]},
]
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
LINK = {"type": "image_url", "image_url": {"url": "https://h/x.png"}}


def test_a_history_with_tool_calls_in_anthropics_shape() -> None:
    system, messages = to.messages_of(CHAT)
    assert system == "be\n\nbrief"
    assert messages == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "x"}},
                {"type": "tool_use", "id": "c2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "noon"},
            ],
        },
        {"role": "assistant", "content": "it rains"},
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
    ]


def test_a_result_of_a_tool_is_the_users_behind_whatever_another_role_said() -> None:
    results = [{"type": "tool_result", "tool_use_id": "c0", "content": "snow"}]
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": results},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": results},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    ]
    assert to.messages_of(chat)[1] == [
        {"role": "user", "content": [*results, {"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]},
        {"role": "assistant", "content": results},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c2", "content": "noon"}]},
    ]


@pytest.mark.parametrize(("arguments", "made"), [("", {}), ("{", {"arguments": "{"}), ("[1]", {"arguments": [1]})])
def test_arguments_that_are_no_object_become_one_for_anthropic(arguments: str, made: object) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    (message,) = to.messages_of([{"role": "assistant", "content": "", "tool_calls": [call]}])[1]
    assert message["content"][0]["input"] == made


def test_an_answer_without_words_is_left_out_for_anthropic() -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "b"}]
    assert to.messages_of(chat) == ("", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])


def test_a_later_system_message_stays_where_it_is() -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "developer", "content": "s"}]
    assert to.messages_of(chat) == ("", [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}])


def test_a_history_with_tool_calls_as_items_of_responses() -> None:
    items = to.items_of(CHAT)
    assert [item.get("type", item.get("role")) for item in items] == [
        "system", "developer", "user", "message", "function_call", "function_call", "function_call_output",
        "function_call_output", "message", "user",
    ]  # fmt: skip
    assert items[4] == {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"x"}'}
    assert items[6] == {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    assert items[-1] == {"role": "user", "content": [{"type": "input_text", "text": "look"}]}


def test_images_have_the_shape_of_each_api() -> None:
    chat = [{"role": "user", "content": [{"type": "text", "text": "a"}, PNG, LINK]}]
    blocks = to.messages_of(chat)[1][0]["content"]
    assert blocks == [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
        {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}},
    ]
    parts = to.items_of(chat)[0]["content"]
    assert parts[1:] == [
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto"},
        {"type": "input_image", "image_url": "https://h/x.png", "detail": "auto"},
    ]


TOOLS = ({"type": "function", "function": {"name": "weather"}},)


@pytest.mark.parametrize(
    ("choice", "chat", "messages", "responses"),
    [
        ("auto", "auto", {"type": "auto"}, "auto"),
        ("required", "required", {"type": "any"}, "required"),
        ("none", "none", {"type": "none"}, "none"),
        (
            "weather",
            {"type": "function", "function": {"name": "weather"}},
            {"type": "tool", "name": "weather"},
            {"type": "function", "name": "weather"},
        ),
    ],
)
def test_the_choice_of_a_tool_goes_with_tools_alone(choice: str, chat: Any, messages: Any, responses: Any) -> None:
    for endpoint, expected in (("chat", chat), ("messages", messages), ("responses", responses)):
        options = BodyOptions(endpoint=endpoint, model="m", tool_choice=choice)
        user = ({"role": "user", "content": "hi"},)
        assert json.loads(encode(Sample(messages=user, tools=TOOLS), options).body)["tool_choice"] == expected
        assert "tool_choice" not in json.loads(encode(Sample(messages=user), options).body)


def test_tools_without_parameters_have_a_schema_where_the_api_wants_one() -> None:
    assert to.messages_tools(TOOLS) == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert to.responses_tools(TOOLS) == [{"type": "function", "name": "weather", "parameters": None}]
