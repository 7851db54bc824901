"""Bodies of OpenAI's chat and completions at their limits, the sentences of refusals, and the lists of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mockserver.dialect.openai import (
    characters_refusal,
    context_refusal,
    model_body,
    models_body,
    parse_body,
    parse_chat,
    parse_completion,
)
from mockserver.dialect.params import RequestParams, ToolChoice
from mockserver.dialect.refusals import Refusal

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def chat(**fields: Any) -> RequestParams:
    return parse_chat({"messages": HELLO, **fields})


def completion(prompt: Any = "x", **fields: Any) -> RequestParams:
    return parse_completion({"prompt": prompt, **fields})


def error_of(refusal: Refusal) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(refusal.body)["error"]
    return error


def test_a_request_that_gives_nothing_else_has_the_defaults() -> None:
    same = {"stream": False, "include_usage": False, "priority": 0, "n": 1}
    assert parse_chat({"messages": HELLO}) == RequestParams(messages=HELLO, **same)  # type: ignore[arg-type]
    assert parse_completion({"prompt": "x"}) == RequestParams(prompt="x", **same)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"[]", 400, "The request body must be a JSON object."),
        (b'"x"', 400, "The request body must be a JSON object."),
        (b'{"model": "c"}', 404, "The model `c` does not exist. This server has the models `a`, `b`."),
        (b'{"model": 5}', 404, "The model `5` does not exist. This server has the models `a`, `b`."),
    ],
)
def test_a_body_is_an_object_that_names_a_model_of_the_server(body: bytes, status: int, problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_body(body, "a", "b")
    assert (refused.value.status, error_of(refused.value)["message"]) == (status, problem)


def test_a_body_may_name_any_model_of_the_server_or_none() -> None:
    for body in ({}, {"model": None}, {"model": "a"}, {"model": "b", "x": 1}):
        assert parse_body(json.dumps(body).encode(), "a", "b") == body
    with pytest.raises(Refusal) as refused:
        parse_body(b'{"model": "c"}', "a")
    assert error_of(refused.value) == {
        "message": "The model `c` does not exist. This server has one model: `a`.",
        "type": "NotFoundError", "param": "model", "code": 404,
    }  # fmt: skip
    with pytest.raises(Refusal) as refused:
        parse_body(b"{", "a")
    assert error_of(refused.value)["message"].startswith("The request body is not valid JSON: ")


@pytest.mark.parametrize(
    ("options", "usage", "continuous"),
    [
        (None, False, False),
        ({}, False, False),
        ({"include_usage": True}, True, False),
        ({"include_usage": True, "continuous_usage_stats": True}, True, True),
        ({"include_usage": False, "continuous_usage_stats": True}, False, False),
    ],
)
def test_usage_comes_with_each_chunk_only_if_it_comes_at_all(options: Any, usage: bool, continuous: bool) -> None:
    for params in (chat(stream=True, stream_options=options), completion(stream=True, stream_options=options)):
        assert (params.stream, params.include_usage, params.continuous_usage) == (True, usage, continuous)


@pytest.mark.parametrize(
    ("fields", "problem", "param"),
    [
        ({"stream": 1}, "stream must be true or false.", "stream"),
        ({"stream_options": {}}, "Stream options can only be defined when `stream=True`.", "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options must be an object.", "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}},
         "stream_options.include_usage must be true or false.", "include_usage"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": 1}},
         "stream_options.continuous_usage_stats must be true or false.", "continuous_usage_stats"),
        ({"n": "2"}, "n must be a whole number.", "n"),
        ({"n": True}, "n must be a whole number.", "n"),
        ({"n": 129}, "n must be at most 128, got 129.", "n"),
        ({"max_tokens": 1.0}, "max_tokens must be a whole number.", "max_tokens"),
        ({"max_tokens": True}, "max_tokens must be a whole number.", "max_tokens"),
        ({"stop": ["a", 5]}, "stop must be a text or a list of texts.", "stop"),
        ({"stop": 5}, "stop must be a text or a list of texts.", "stop"),
        ({"stop_token_ids": [1, "a"]}, "stop_token_ids must contain only integers, got [1, 'a'].", None),
        ({"priority": 2**63}, "priority must be a whole number of 64 bits.", "priority"),
        ({"priority": -(2**63) - 1}, "priority must be a whole number of 64 bits.", "priority"),
        ({"priority": True}, "priority must be a whole number of 64 bits.", "priority"),
        ({"include_stop_str_in_output": 1}, "include_stop_str_in_output must be true or false.",
         "include_stop_str_in_output"),
    ],
)  # fmt: skip
def test_a_field_of_either_gets_its_own_sentence(fields: dict[str, Any], problem: str, param: str | None) -> None:
    for parse in (chat, completion):
        with pytest.raises(Refusal) as refused:
            parse(**fields)
        assert error_of(refused.value) == {"message": problem, "type": "BadRequestError", "param": param, "code": 400}


def test_the_fields_of_either_arrive_in_the_parameters() -> None:
    fields = {"stop": "END", "include_stop_str_in_output": True, "priority": -3, "n": 128, "ignore_eos": True,
              "min_tokens": 2, "max_tokens": 2, "stream": True}  # fmt: skip
    for params in (chat(**fields), completion(**fields)):
        assert (params.stop, params.keep_stop, params.priority, params.n) == (("END",), True, -3, 128)
        assert (params.ignore_eos, params.least_tokens, params.asked_tokens, params.stream) == (True, 2, 2, True)
    assert chat(stop=["a", "b"]).stop == ("a", "b")
    assert (chat(priority=2**63 - 1).priority, chat(priority=-(2**63)).priority) == (2**63 - 1, -(2**63))


# ---- Chat --------------------------------------------------------------------------------------------------------------

NO_MESSAGES = "messages must be a list with at least one message."


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (None, NO_MESSAGES),
        ({}, NO_MESSAGES),
        ("hello", NO_MESSAGES),
        ([], NO_MESSAGES),
        ([*HELLO, "x"], "messages[1] must be an object with a role."),
        ([{"content": "x"}], "messages[0] must be an object with a role."),
        ([{"role": 5, "content": "x"}], "messages[0] must be an object with a role."),
        ([*HELLO, {"role": "user", "content": 5}], "messages[1].content must be a text or a list of parts."),
    ],
)
def test_wrong_messages_are_reported_with_their_number(messages: Any, problem: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_chat({"messages": messages})
    assert (error_of(refused.value)["message"], error_of(refused.value)["param"]) == (problem, "messages")


def test_the_new_name_of_the_length_counts_before_the_old_one() -> None:
    assert chat(max_tokens=5).asked_tokens == 5
    assert chat(max_completion_tokens=1, max_tokens=5).asked_tokens == 1
    for name in ("max_completion_tokens", "max_tokens"):
        with pytest.raises(Refusal) as refused:
            chat(**{"max_completion_tokens": 5, "max_tokens": 5, name: 0})
        assert error_of(refused.value)["param"] == name


def test_tools_may_be_called_in_parallel_unless_the_request_declines() -> None:
    assert [chat(parallel_tool_calls=value).parallel_calls for value in (None, True, False)] == [True, True, False]
    assert (chat(tools=TOOLS).tools, chat(tools=TOOLS).tool_choice) == (TOOLS, ToolChoice())
    assert chat(tools=TOOLS, tool_choice="required").tool_choice == ToolChoice("required")
    assert chat(messages=[{"role": "assistant", "content": None}]).messages == [{"role": "assistant", "content": None}]


@pytest.mark.parametrize(
    ("fields", "alternatives"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 0}, 0),
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"logprobs": True, "top_logprobs": -1}, 20),
    ],
)
def test_chat_asks_for_alternatives_by_their_number(fields: dict[str, Any], alternatives: int | None) -> None:
    assert chat(**fields).logprobs == alternatives


# ---- Completions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("x", ("x",)),
        ("", ("",)),
        ([1, 2], ([1, 2],)),
        (["a"], ("a",)),
        (["a", "b"], ("a", "b")),
        ([[1], [2, 3]], ([1], [2, 3])),
        (["a", [1]], ("a", [1])),
        (["x"] * 128, ("x",) * 128),
    ],
)
def test_a_prompt_is_a_text_or_token_ids_or_several_of_either(prompt: Any, prompts: tuple[Any, ...]) -> None:
    params = completion(prompt)
    assert (params.prompt, *params.more_prompts) == prompts
    assert params.logprobs is None
    assert not params.echo_prompt


@pytest.mark.parametrize("prompt", [None, 5, {}, [], [[]], ["a", []], [1, "a"], [True], ["a", 5], [[1, "a"]]])
def test_any_other_prompt_is_refused(prompt: Any) -> None:
    with pytest.raises(Refusal) as refused:
        completion(prompt)
    problem = "prompt must be a text or a list of token ids, or a list of either, and not empty."
    assert (error_of(refused.value)["message"], error_of(refused.value)["param"]) == (problem, "prompt")


def test_all_choices_of_all_prompts_are_at_most_128() -> None:
    assert completion(["x"] * 64, n=2).n == 2
    with pytest.raises(Refusal) as refused:
        completion(["x"] * 43, n=3)
    assert error_of(refused.value)["message"] == "43 prompts with n=3 are over 128 choices."


def test_a_completion_may_repeat_its_prompt_and_have_alternatives() -> None:
    assert completion(echo=True).echo_prompt
    assert [completion(logprobs=value).logprobs for value in (None, 0, 1, 20, "5")] == [None, 0, 1, 20, 5]


# ---- Refusals and models -----------------------------------------------------------------------------------------------


def test_a_request_that_exceeds_the_context_is_told_its_numbers() -> None:
    end = "Please reduce the length of the input prompt or the number of requested output tokens."
    start = "This model's maximum context length is 100 tokens. However, you requested 30 output tokens and your prompt"
    exact, least = context_refusal(100, 80, 30), context_refusal(100, 80, 30, at_least=True)
    assert error_of(exact)["message"] == f"{start} contains 80 input tokens, for a total of 110 tokens. {end}"
    assert (
        error_of(least)["message"]
        == f"{start} contains at least 80 input tokens, for a total of at least 110 tokens. {end}"
    )
    assert (exact.status, error_of(exact)["param"]) == (400, "input_tokens")


def test_a_text_that_cannot_fit_is_told_how_many_characters_can() -> None:
    refusal = characters_refusal(100, 5000, 30, 8)
    assert error_of(refusal)["message"] == (
        "You passed 5000 input characters and requested 30 output tokens. However, the model's context length is only 100 "
        "tokens, resulting in a maximum input length of 70 tokens (at most 560 characters). Please reduce the length of the "
        "input prompt. (parameter=input_text, value=5000)"
    )
    assert (refusal.status, error_of(refusal)["param"]) == (400, "input_text")


def test_the_models_are_listed_as_vllm_does() -> None:
    permission = {
        "id": "modelperm-b", "object": "model_permission", "created": 9, "allow_create_engine": False,
        "allow_sampling": True, "allow_logprobs": True, "allow_search_indices": False, "allow_view": True,
        "allow_fine_tuning": False, "organization": "*", "group": None, "is_blocking": False,
    }  # fmt: skip
    card = {
        "id": "b", "object": "model", "created": 9, "owned_by": "vllm", "root": "b", "parent": None, "max_model_len": 100,
        "permission": [permission],
    }  # fmt: skip
    listed = json.loads(models_body(["a", "b"], 9, 100))
    assert listed["object"] == "list"
    assert [row["id"] for row in listed["data"]] == ["a", "b"]
    assert listed["data"][1] == card
    assert json.loads(model_body("b", ["a", "b"], 9, 100)) == card
    with pytest.raises(Refusal) as refused:
        model_body("c", ["a", "b"], 9, 100)
    assert refused.value.status == 404
    assert error_of(refused.value) == {
        "message": "The model 'c' does not exist", "type": "invalid_request_error", "param": "model",
        "code": "model_not_found",
    }  # fmt: skip
