"""Bodies of Messages and Responses: the resulting conversation, and refused bodies. No body may cause an error of ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockserver.dialect.embeddings import parse_embedding
from mockserver.dialect.messages import refused
from mockserver.dialect.messages_request import parse_messages, parse_prompt
from mockserver.dialect.params import RequestParams, ToolChoice
from mockserver.dialect.refusals import Refusal, fault_refusal
from mockserver.dialect.responses_request import parse_responses
from mockserver.dialect.socket_responses import parse_message
from promptset.errors import SpecError
from promptset.tokens import load_tokenizer

HELLO = [{"role": "user", "content": "hello"}]
ASKED = {"model": "m", "max_tokens": 9, "messages": HELLO}
TOOL = {"name": "weather", "input_schema": {"properties": {"city": {"type": "string"}}}}
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def test_a_body_of_messages_is_the_conversation_that_chat_would_get() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}}
    params = parse_messages(
        {
            **ASKED,
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: 1"},
                {"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "brief."},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Look:"}, image]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                        {"type": "redacted_thinking", "data": "y"},
                        {"type": "text", "text": "I ask."},
                        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t1",
                            "content": [{"type": "text", "text": "Sun."}, image],
                        },
                        {"type": "text", "text": "So?"},
                    ],
                },
                {"role": "system", "content": "Now answer."},
            ],
            "tools": [TOOL],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            "stop_sequences": ["END"],
            "stream": True,
            "thinking": {"type": "adaptive"},
            "a_field_of_tomorrow": 1,
        }
    )
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    call = {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert params.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]},
        {
            "role": "assistant",
            "reasoning": "Hm.",
            "tool_calls": [{"id": "t1", "type": "function", "function": call}],
            "content": "I ask.",
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Sun."},
        {"role": "user", "content": [picture]},
        {"role": "user", "content": "So?"},
        {"role": "system", "content": "Now answer."},
    ]
    schema = {"properties": {"city": {"type": "string"}}, "type": "object"}
    assert params.tools == [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    assert (params.tool_choice, params.parallel_calls) == (ToolChoice("required", "weather"), False)
    assert (params.stream, params.asked_tokens, params.stop) == (True, 9, ("END",))
    assert params.include_usage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"model": None}, "model: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "system", "content": ""}]}, "messages: at least one message is required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "poem"}]}]}, "messages.0.content.0.type: Input should be"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"system": 5}, "system: Input should be a valid list"),
        ({"tools": [{"name": "x"}]}, "tools.0.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: tools must be given"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "y"}}, "tool_choice.name: Tool 'y' not found"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type: Input should be"),
        ({"stop_sequences": [""]}, "stop_sequences.0: stop sequences cannot be empty"),
        ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid list"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking.budget_tokens: Input should be greater"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "max_tokens: must be greater than"),
        ({"thinking": {"type": "some"}}, "thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens: Input should be a valid"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type: Input should be 'json_schema'"),
        ({"temperature": 3.0}, "temperature must be in [0, 2]"),
    ],
)
def test_what_is_wrong_with_messages_is_said_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_messages({**ASKED, **change})
    error = json.loads(refused(caught.value).body)
    assert (error["type"], error["error"]["type"], caught.value.status) == ("error", "invalid_request_error", 400)
    assert error["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("fields", "ignore_eos", "least"),
    [
        ({}, False, 0),
        ({"ignore_eos": True, "min_tokens": 3}, True, 3),
        ({"ignore_eos": False, "min_tokens": 0}, False, 0),
        ({"ignore_eos": "yes", "min_tokens": "many"}, False, 0),
        ({"ignore_eos": 1, "min_tokens": -5}, False, 0),
        ({"min_tokens": []}, False, 0),
    ],
    ids=str,
)
def test_the_length_that_a_request_asks_for_counts_in_the_dialects_that_do_not_know_its_fields(
    fields: dict[str, Any], ignore_eos: bool, least: int
) -> None:
    for params in (parse_messages({**ASKED, **fields}), parse_responses({"input": "x", **fields})):
        assert (params.ignore_eos, params.least_tokens) == (ignore_eos, least)


def test_a_proxys_page_is_the_same_in_every_dialect() -> None:
    page = fault_refusal(502, None)
    assert refused(page) is page


@pytest.mark.parametrize(
    ("choice", "found", "parallel"),
    [
        (None, ToolChoice(), True),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), False),
        ({"type": "none"}, ToolChoice("none"), True),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), True),
        # Any of the tools may be named, not only the first.
        ({"type": "tool", "name": "weather"}, ToolChoice("required", "weather"), True),
        ({"type": "tool", "name": "clock"}, ToolChoice("required", "clock"), True),
    ],
)
def test_a_choice_of_tools_in_messages_is_that_of_chat(choice: Any, found: ToolChoice, parallel: bool) -> None:
    params = parse_messages({**ASKED, "tools": [TOOL, {**TOOL, "name": "clock"}], "tool_choice": choice})
    assert (params.tool_choice, params.parallel_calls) == (found, parallel)


def test_a_body_of_responses_is_the_conversation_that_chat_would_get() -> None:
    params = parse_responses(
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "Always."},
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "Look:"},
                    {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
                ]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "Sun."},
                {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "Rain."}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "Fine."}]},
            ],
            "tools": [FUNCTION, {"type": "web_search"}],
            "tool_choice": "required",
            "max_output_tokens": 7,
            "stream": True,
        }
    )  # fmt: skip
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for name in ("c1", "c2")
    ]
    assert params.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Always."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]},
        {"role": "assistant", "reasoning": "Hm.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "Sun."},
        {"role": "tool", "tool_call_id": "c2", "content": "Rain."},
        {"role": "assistant", "content": "Fine."},
    ]
    function = {"name": "weather", "parameters": {"type": "object"}}
    assert params.tools == [{"type": "function", "function": function}]
    assert (params.tool_choice, params.asked_tokens, params.stream) == (ToolChoice("required"), 7, True)
    assert params.echo["tools"] == [FUNCTION, {"type": "web_search"}]


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"input": None}, "input", 400),
        ({"input": []}, "input", 400),
        ({"input": [{"type": "poem"}]}, "input", 400),
        ({"input": [{"role": "tool", "content": "x"}]}, "input", 400),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input", 400),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input", 400),
        ({"max_output_tokens": 0}, "max_output_tokens", 400),
        ({"max_output_tokens": True}, "max_output_tokens", 400),
        ({"stream": "yes"}, "stream", 400),
        ({"prompt": {"id": "p"}}, "prompt", 400),
        ({"background": True}, "background", 400),
        ({"previous_response_id": 5}, "previous_response_id", 400),
        ({"store": "no"}, "store", 400),
        ({"tool_choice": "required"}, "tool_choice", 400),
        ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", 400),
        ({"tool_choice": 5}, "tool_choice", 400),
        ({"tools": [{"type": "function"}]}, "tools", 400),
        ({"stop": [""]}, "stop", 400),
        ({"text": "json"}, "text", 400),
        ({"text": {"format": "json"}}, "text", 400),
        ({"text": {"format": {"type": "xml"}}}, "text", 400),
        ({"text": {"format": {"type": "json_schema", "schema": []}}}, "text", 400),
        ({"tools": {}}, "tools", 400),
        ({"tools": ["f"]}, "tools", 400),
        ({"tools": [{"type": 3}]}, "tools", 400),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools", 400),
        ({"input": ["x"]}, "input", 400),
        ({"input": [{"role": "user", "content": 5}]}, "input", 400),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input", 400),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]}, "input", 400),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input", 400),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input", 400),
        ({"input": [{"type": "reasoning", "content": "Hm."}]}, "input", 400),
        ({"priority": "high"}, "priority", 400),
        ({"priority": 2**63}, "priority", 400),
    ],
)
def test_what_is_wrong_with_responses_names_the_field(change: dict[str, Any], param: str, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        parse_responses({"input": "x", **change})
    error = json.loads(caught.value.body)["error"]
    assert (caught.value.status, error["param"], error["code"]) == (status, param, status)


WORDS = st.sampled_from(
    [
        "text", "user", "assistant", "system", "image", "tool_use", "tool_result", "thinking", "url", "base64", "auto", "any",
        "tool", "none", "enabled", "disabled", "message", "function_call", "function_call_output", "reasoning", "input_text",
        "output_text", "input_image", "function", "required", "developer", "summary_text", "refusal", "",
    ]
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        "role", "content", "type", "text", "source", "data", "media_type", "url", "id", "name", "input", "thinking",
        "tool_use_id", "image_url", "call_id", "arguments", "output", "summary", "encrypted_content", "refusal",
        "input_schema", "description", "parameters", "budget_tokens", "disable_parallel_tool_use", "strict",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=25,
)
BODY_FIELDS = st.sampled_from(
    [
        "model", "messages", "system", "max_tokens", "stream", "tools", "tool_choice", "thinking", "stop_sequences",
        "temperature", "top_p", "top_k", "input", "instructions", "max_output_tokens", "stop", "parallel_tool_calls",
        "include_stop_str_in_output", "metadata", "text", "seed", "stop_token_ids", "min_p", "background", "reasoning",
    ]
)  # fmt: skip
MESSAGES = st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=3)


def accepted(parse: Callable[[dict[str, Any]], RequestParams], row: dict[str, Any]) -> bool:
    """Whether a body is accepted. If not, the refusal is a client error and can be expressed in both dialects. An
    accepted body can be rendered, or the template explains why not."""
    refusal, params = None, None
    try:
        params = parse(row)
    except Refusal as e:
        refusal = e
    if refusal is not None:
        assert 400 <= refusal.status < 500
        json.loads(refusal.body)
        assert json.loads(refused(refusal).body)["type"] == "error"
    if params is None:
        return False
    assert params.messages
    with contextlib.suppress(SpecError):  # The template may refuse the conversation, with a reason.
        load_tokenizer().render_chat(params.messages, params.tools)
    return True


@settings(max_examples=100)
@given(st.dictionaries(BODY_FIELDS, VALUES, max_size=8), MESSAGES)
def test_any_body_of_messages_is_taken_or_refused_in_words(row: dict[str, Any], messages: list[Any]) -> None:
    accepted(parse_messages, row)
    accepted(parse_messages, {**row, "model": "m", "max_tokens": 5, "messages": messages})
    accepted(parse_prompt, {**row, "model": "m", "messages": messages})


@settings(max_examples=100)
@given(st.dictionaries(BODY_FIELDS, VALUES, max_size=8), MESSAGES)
def test_any_body_of_responses_is_taken_or_refused_in_words(row: dict[str, Any], items: list[Any]) -> None:
    accepted(parse_responses, row)
    accepted(parse_responses, {**row, "input": items, "background": None, "previous_response_id": None})


def test_a_message_of_results_alone_says_nothing_beside_them() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "Sun."}
    body = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": [result]}, {"role": "assistant", "content": []}],
    }
    messages = parse_messages(body).messages
    assert messages is not None
    assert [message["role"] for message in messages] == ["tool", "assistant"]
    assert messages[0]["content"] == "Sun."


def test_a_message_of_a_socket_asks_for_a_response_and_streams() -> None:
    params = parse_message({"type": "response.create", "input": "x", "stream": False, "background": True})
    assert (params.stream, params.messages) == (True, [{"role": "user", "content": "x"}])
    for row, words in (
        ({"input": "x"}, "Unknown message type: None. This server takes response.create."),
        ({"type": "response.cancel"}, "Unknown message type: response.cancel. This server takes response.create."),
        ({"type": "response.create", "input": "x", "generate": False}, "generate=false is not supported"),
    ):
        with pytest.raises(Refusal) as refused:
            parse_message(row)
        assert words in refused.value.body.decode()


@pytest.mark.parametrize("value", [None, 5, {}, {"a": 1}, [], [[]], [1, "a"], [[1], ["a"]]])
def test_what_is_embedded_is_texts_or_token_ids(value: object) -> None:
    for good in ("a", [1, 2], ["a", "b"], [[1], [2, 3]]):
        assert parse_embedding({"input": good}, 4).dimensions == 4
    with pytest.raises(Refusal):
        parse_embedding({"input": value}, 4)
