"""Bodies of Messages and Responses at their limits: the least values, optional fields, and where errors are reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mockserver.dialect.messages_request import parse_messages, parse_prompt
from mockserver.dialect.params import DocumentFormat, RequestParams, ToolChoice
from mockserver.dialect.refusals import LOST_RESPONSE, Refusal, fault_refusal, lost_response, refusal_of
from mockserver.dialect.responses_request import parse_responses
from mockserver.dialect.socket_responses import ResponsesTalk, as_message

HELLO = [{"role": "user", "content": "hello"}]
ASKED = {"model": "m", "max_tokens": 9, "messages": HELLO}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
INPUT_IMAGE = {"type": "input_image", "image_url": "https://x/y.png"}
WEATHER, CLOCK = ({"type": "function", "name": name, "parameters": SCHEMA} for name in ("weather", "clock"))


def messages(*entries: dict[str, Any], **fields: Any) -> RequestParams:
    return parse_messages({**ASKED, "messages": [*entries], **fields})


def said_by_user(*blocks: dict[str, Any]) -> list[dict[str, Any]] | None:
    return messages({"role": "user", "content": [*blocks]}).messages


def responses(*items: Any, **fields: Any) -> RequestParams:
    return parse_responses({"input": [*items] or "x", **fields})


def message_of(refused: pytest.ExceptionInfo[Refusal]) -> str:
    return str(json.loads(refused.value.body)["error"]["message"])


# ---- Messages ----------------------------------------------------------------------------------------------------------


def test_one_token_is_the_least_that_messages_may_ask_for() -> None:
    assert parse_messages({**ASKED, "max_tokens": 1}).asked_tokens == 1


def test_thinking_has_at_least_1024_tokens_and_leaves_one_for_the_text() -> None:
    for budget, asked, problem in (
        (1024, 1025, None),
        (1023, 1025, "thinking.budget_tokens: Input should be greater than or equal to 1024"),
        (1024, 1024, "max_tokens: must be greater than `thinking.budget_tokens`"),
    ):
        body = {**ASKED, "max_tokens": asked, "thinking": {"type": "enabled", "budget_tokens": budget}}
        if problem is None:
            assert parse_messages(body).asked_tokens == asked
            continue
        with pytest.raises(Refusal) as refused:
            parse_messages(body)
        assert message_of(refused) == problem


def test_a_prompt_that_is_only_counted_is_no_stream() -> None:
    assert parse_prompt({**ASKED, "stream": True}) == RequestParams(stream=False, messages=HELLO)


@pytest.mark.parametrize(
    ("block", "where", "problem"),
    [
        ("x", "", "Input should be a valid dictionary"),
        ({"type": "tool_use", "id": "t", "name": "f"}, ".input", "Input should be a valid dictionary"),
        ({"type": "tool_use", "id": "t", "input": {}}, ".name", "Field required"),
        ({"type": "tool_use", "name": "f", "input": {}}, ".id", "Field required"),
        ({"type": "thinking"}, ".thinking", "Field required"),
        ({"type": "text", "text": 5}, ".text", "Input should be a valid string"),
        ({"type": "tool_result", "content": "x"}, ".tool_use_id", "Field required"),
        ({"type": "tool_result", "tool_use_id": "t", "content": 5}, ".content", "Input should be a valid list"),
        ({"type": "tool_result", "tool_use_id": "t", "content": ["x"]}, ".content.0", "Input should be a valid dictionary"),
        ({"type": "image"}, ".source", "Input should be a valid dictionary"),
        ({"type": "image", "source": {"type": "url"}}, ".source.url", "Field required"),
        ({"type": "image", "source": {"type": "base64"}}, ".source.data", "Field required"),
        ({"type": "image", "source": {"data": "QQ==", "media_type": 5}}, ".source.media_type",
         "Input should be a valid string"),
    ],
)  # fmt: skip
def test_an_error_in_a_block_is_reported_with_its_field(block: Any, where: str, problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        said_by_user({"type": "text", "text": "Look:"}, block)
    assert message_of(refused) == f"messages.0.content.1{where}: {problem}"


@pytest.mark.parametrize("where", ["a user's message", "the system prompt", "a tool's result"])
def test_an_image_without_a_source_is_refused_wherever_it_is(where: str) -> None:
    block = {"type": "image"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    bodies: dict[str, dict[str, Any]] = {
        "a user's message": {"messages": [{"role": "user", "content": [block]}]},
        "the system prompt": {"system": [block]},
        "a tool's result": {"messages": [{"role": "user", "content": [result]}]},
    }
    with pytest.raises(Refusal) as refused:
        parse_messages({**ASKED, **bodies[where]})
    assert message_of(refused).endswith("source: Input should be a valid dictionary")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": ""}, "model: Input should be a valid string"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"messages": ["x"]}, "messages.0: Input should be a valid dictionary"),
        ({"tools": ["x"]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
        ({"tools": [{"name": "f", "input_schema": 5}]}, "tools.0.input_schema: Input should be a valid dictionary"),
        ({"tools": [{"name": "f", "input_schema": {}, "description": 5}]},
         "tools.0.description: Input should be a valid string"),
        ({"tool_choice": "any"}, "tool_choice: Input should be a valid dictionary"),
        ({"thinking": True}, "thinking: Input should be a valid dictionary"),
        ({"output_config": 5}, "output_config: Input should be a valid dictionary"),
        ({"output_config": {"format": {"type": "json_schema"}}},
         "output_config.format.schema: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_in_messages_is_reported_with_its_place(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_messages({**ASKED, **change})
    assert message_of(refused) == problem


def test_a_tool_of_messages_keeps_its_description_and_its_own_type() -> None:
    given = [
        {"name": "a", "description": "Tells.", "input_schema": {"type": "array"}},
        {"name": "b", "description": None, "input_schema": {}},
    ]
    assert parse_messages({**ASKED, "tools": given}).tools == [
        {"type": "function", "function": {"name": "a", "description": "Tells.", "parameters": {"type": "array"}}},
        {"type": "function", "function": {"name": "b", "parameters": {"type": "object"}}},
    ]


def test_the_system_prompt_is_its_texts_without_images_and_billing() -> None:
    billing = "x-anthropic-billing-header: 1"
    for system in (None, "", billing, [], [{"type": "text", "text": billing}], [IMAGE]):
        assert parse_messages({**ASKED, "system": system}).messages == HELLO
    brief = {"role": "system", "content": "Be brief."}
    for given in ("Be brief.", [{"type": "text", "text": "Be "}, IMAGE, {"type": "text", "text": "brief."}]):
        assert parse_messages({**ASKED, "system": given}).messages == [brief, *HELLO]
        # The same holds for a message with that role.
        assert messages(*HELLO, {"role": "system", "content": given}).messages == [*HELLO, brief]
    nothing: list[Any] = [None, "", billing, []]
    for empty in nothing:
        assert messages({"role": "system", "content": empty}, *HELLO).messages == HELLO


def test_an_image_stays_a_part_and_a_text_alone_becomes_the_content() -> None:
    empty, look = {"type": "text", "text": ""}, {"type": "text", "text": "Look:"}
    assert said_by_user(IMAGE) == [{"role": "user", "content": [PICTURE]}]
    assert said_by_user(empty, IMAGE) == [{"role": "user", "content": [PICTURE]}]
    assert said_by_user(look) == [{"role": "user", "content": "Look:"}]
    assert said_by_user(look, empty, look) == [{"role": "user", "content": [look, look]}]


def test_an_image_without_a_media_type_is_a_jpeg() -> None:
    block = {"type": "image", "source": {"type": "base64", "data": "QQ=="}}
    url = "data:image/jpeg;base64,QQ=="
    assert said_by_user(block) == [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def test_the_result_of_a_tool_may_be_absent_a_text_or_several_texts() -> None:
    text = {"type": "text", "text": "Sun."}
    for content, shown in (
        (None, ""),
        ("Sun.", "Sun."),
        ([], ""),
        ([text, {"type": "thinking", "thinking": "Hm."}, text], "Sun.\nSun."),
    ):
        result = {"type": "tool_result", "tool_use_id": "t1", "content": content}
        assert said_by_user(result) == [{"role": "tool", "tool_call_id": "t1", "content": shown}]


# ---- Responses ---------------------------------------------------------------------------------------------------------


def test_a_body_of_responses_that_gives_nothing_else_has_the_defaults() -> None:
    params = parse_responses({"input": "x"})
    assert (params.tools, params.tool_choice, params.parallel_calls) == (None, ToolChoice(), True)
    assert (params.priority, params.stores, params.document, params.keep_stop) == (0, True, None, False)
    assert (params.previous_response, params.own_messages, params.asked_tokens) == (None, 0, None)
    assert params.echo == {
        "instructions": None, "metadata": None, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "none",
        "tools": [], "top_p": 1.0, "max_tool_calls": None, "previous_response_id": None, "reasoning": None,
        "service_tier": "auto", "text": None, "truncation": "disabled", "user": None, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "max_output_tokens": None,
    }  # fmt: skip


def test_a_response_repeats_what_its_request_gave() -> None:
    given = {"temperature": 0.5, "top_p": 0.25, "presence_penalty": 1.5, "frequency_penalty": -1.5, "user": "u",
             "parallel_tool_calls": False, "metadata": {"a": "b"}, "truncation": "auto"}  # fmt: skip
    params = parse_responses({"input": "x", "max_output_tokens": 7, **given})
    assert params.echo == {**parse_responses({"input": "x"}).echo, **given, "max_output_tokens": 7}
    assert params.parallel_calls is False
    assert parse_responses({"input": "x", "parallel_tool_calls": True}).parallel_calls is True


@pytest.mark.parametrize(
    ("fields", "repeated"),
    [
        ({}, "none"),
        ({"tools": []}, "none"),
        ({"tools": [WEATHER]}, "auto"),
        ({"tool_choice": "auto"}, "auto"),
        ({"tools": [WEATHER], "tool_choice": "required"}, "required"),
        ({"tools": [WEATHER], "tool_choice": "none"}, "none"),
    ],
)
def test_a_response_repeats_the_choice_of_tools_or_none_without_tools(fields: dict[str, Any], repeated: str) -> None:
    assert parse_responses({"input": "x", **fields}).echo["tool_choice"] == repeated


@pytest.mark.parametrize(
    ("choice", "meaning"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "weather"}, ToolChoice("required", "weather")),
        ({"type": "function", "name": "clock"}, ToolChoice("required", "clock")),
        ({"type": "web_search"}, ToolChoice()),
    ],
)
def test_a_choice_of_tools_in_responses_may_name_any_of_them(choice: Any, meaning: ToolChoice) -> None:
    params = parse_responses({"input": "x", "tools": [{"type": "web_search"}, WEATHER, CLOCK], "tool_choice": choice})
    assert params.tool_choice == meaning
    assert params.tools is not None
    assert [tool["function"]["name"] for tool in params.tools] == ["weather", "clock"]


def test_only_built_in_tools_are_no_tools() -> None:
    assert parse_responses({"input": "x", "tools": [{"type": "web_search"}]}).tools is None


def test_a_response_is_stored_unless_its_request_declines() -> None:
    assert [parse_responses({"input": "x", "store": store}).stores for store in (None, True, False)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ({}, None),
        ({"format": None}, None),
        ({"format": {"type": "text"}}, None),
        ({"format": {"type": "json_object"}}, DocumentFormat()),
        ({"format": {"type": "json_schema", "schema": SCHEMA}}, DocumentFormat(SCHEMA)),
    ],
)
def test_the_format_of_a_response_is_text_any_object_or_a_schema(text: Any, document: DocumentFormat | None) -> None:
    assert parse_responses({"input": "x", "text": text}).document == document


NO_CHOICE = "tool_choice must be none, auto, required, or an object that names a function."


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"temperature": 2.5}, "temperature must be in [0, 2], got 2.5. (parameter=temperature, value=2.5)"),
        ({"stop": [5]}, "stop must be a text or a list of texts."),
        ({"stop_token_ids": [1, "a"]}, "stop_token_ids must contain only integers, got [1, 'a']."),
        ({"priority": -(2**63) - 1}, "priority must be a whole number of 64 bits."),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name must be a text."),
        ({"tools": [WEATHER, "f"]}, "tools[1] must be an object with a type."),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}},
         "Tool choice 'function' not found in 'tools' parameter."),
        ({"tools": [WEATHER], "tool_choice": {"type": 5}}, NO_CHOICE),
        ({"tools": [WEATHER], "tool_choice": {}}, NO_CHOICE),
        ({"tool_choice": "some"}, NO_CHOICE),
        ({"text": {"format": {"type": "json_schema"}}},
         "text.format.schema must be a JSON schema, which is an object."),
    ],
)  # fmt: skip
def test_a_wrong_value_in_responses_gets_its_own_sentence(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_responses({"input": "x", **fields})
    assert message_of(refused) == problem


@pytest.mark.parametrize(
    "part",
    [
        {"type": "poem", "refusal": "No."},
        {"type": "poem", "image_url": "https://x/y.png"},
        {"type": "refusal", "refusal": 5},
        {"type": "input_image", "image_url": {"url": "https://x/y.png"}},
        {"type": ["input_text"], "text": "x"},
    ],
)
def test_a_part_of_another_type_or_with_another_value_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        responses({"role": "user", "content": [part]})
    assert message_of(refused) == f"input[0].content[0]: this server does not take parts of the type {part['type']}."


def test_each_type_of_part_becomes_a_part_of_chat() -> None:
    for part, shown in (
        ({"type": "refusal", "refusal": "No."}, "No."),
        ({"type": "summary_text", "text": "x"}, "x"),
        (INPUT_IMAGE, [PICTURE]),
        ({**INPUT_IMAGE, "refusal": "No."}, [PICTURE]),
    ):
        assert responses({"role": "user", "content": [part]}).messages == [{"role": "user", "content": shown}]


def test_items_join_the_assistant_message_before_them_until_it_has_their_field() -> None:
    user, assistant = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert responses(assistant).messages == [assistant]
    assert responses(user, user, assistant, assistant).messages == [user, user, assistant, assistant]
    assert responses(user, user, thought, assistant).messages == [user, user, {**assistant, "reasoning": "Hm."}]
    assert responses(thought, thought).messages == [{"role": "assistant", "reasoning": "Hm."}] * 2
    assert responses(call).messages == [{"role": "assistant", "tool_calls": calls}]
    assert responses(assistant, user, call).messages == [assistant, user, {"role": "assistant", "tool_calls": calls}]
    assert responses(user, assistant, call).messages == [user, {**assistant, "tool_calls": calls}]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ""),
        ({"summary": []}, ""),
        ({"content": [{"type": "reasoning_text", "text": "Hm."}], "summary": [{"text": "Other."}]}, "Hm."),
        ({"content": ["x", {"text": 5}, {}, {"text": "Hm."}]}, "Hm."),
    ],
)
def test_the_text_of_reasoning_is_the_first_that_it_has(fields: dict[str, Any], shown: str) -> None:
    assert responses({"type": "reasoning", **fields}).messages == [{"role": "assistant", "reasoning": shown}]


# ---- Messages of a WebSocket -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (refusal_of(400, "No.", "input"),
         {"code": "BadRequestError", "message": "No.", "type": "BadRequestError", "param": "input"}),
        (lost_response("r", "vllm"),
         {"code": LOST_RESPONSE, "message": "Response with id 'r' not found.", "type": "invalid_request_error",
          "param": "response_id"}),
        (lost_response("r", "openai"),
         {"code": LOST_RESPONSE, "message": "Previous response with id 'r' not found.",
          "type": "invalid_request_error", "param": "previous_response_id"}),
        (Refusal(404, b'{"error":{"code":"gone","message":"m","type":"t","param":null}}'),
         {"code": "gone", "message": "m", "type": "t", "param": None}),
        (fault_refusal(401, None),
         {"code": "Unauthorized", "message": "Unauthorized", "type": "Unauthorized", "param": None}),
        (fault_refusal(502, None),
         {"code": "Bad Gateway", "message": "Bad Gateway", "type": "Bad Gateway", "param": None}),
    ],
)  # fmt: skip
def test_a_refusal_is_a_message_with_a_code_that_is_a_text(refusal: Refusal, error: dict[str, Any]) -> None:
    said = as_message(refusal)
    assert json.loads(said.body) == {"type": "error", "status": refusal.status, "error": error}
    assert (said.status, said.message) == (refusal.status, refusal.message)


def test_a_message_of_a_refusal_has_its_headers_except_the_type_of_the_body() -> None:
    body = json.loads(as_message(fault_refusal(429, 2.0)).body)
    assert body["headers"] == {"retry-after": "2.0"}
    typed = Refusal(400, b'{"error":"x"}', (("content-type", "text/html"), ("x-a", "1")))
    assert json.loads(as_message(typed).body)["headers"] == {"x-a": "1"}


def test_a_message_names_the_response_that_it_continues_and_its_own_headers() -> None:
    talk = ResponsesTalk(
        [(b"authorization", b"Bearer k"), (b"x-request-id", b"of-the-handshake"), (b"x-mock-ttft", b"1ms")], {}
    )
    plain = talk.take(b'{"previous_response_id": "r-1"}')
    assert plain.continues == "r-1"
    assert plain.headers == [(b"authorization", b"Bearer k"), (b"x-mock-ttft", b"1ms")]
    own = talk.take(b'{"metadata": {"X-Request-Id": "q-1", "x-mock-ttft": "2ms", "other": "x", "traceparent": 5}}')
    assert (own.continues, own.headers) == (
        None, [(b"authorization", b"Bearer k"), (b"x-request-id", b"q-1"), (b"x-mock-ttft", b"2ms")],
    )  # fmt: skip
    for broken in (b"{", b"[]", b'{"previous_response_id": 5}'):
        assert talk.take(broken).continues is None
        assert talk.take(broken).body == broken
