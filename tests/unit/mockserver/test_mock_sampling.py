"""Sampling fields out of range get vLLM's 400, word for word. Values that vLLM accepts are accepted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mockserver.dialect.openai import parse_chat, parse_completion
from mockserver.dialect.refusals import Refusal


def body(endpoint: str, **fields: Any) -> dict[str, Any]:
    prompt: dict[str, Any] = (
        {"messages": [{"role": "user", "content": "hi"}]} if endpoint == "chat" else {"prompt": "hi"}
    )
    # Encoded as JSON, as in a request: 1e999 is a number in JSON, but not a float.
    parsed: dict[str, Any] = orjson.loads(orjson.dumps({**prompt, **fields}))
    return parsed


def parse(endpoint: str, row: dict[str, Any]) -> None:
    (parse_chat if endpoint == "chat" else parse_completion)(row)


BOTH = [
    ({"temperature": 99}, "temperature must be in [0, 2], got 99.0. (parameter=temperature, value=99.0)", "temperature"),
    ({"temperature": -1}, "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)", "temperature"),
    ({"temperature": 2.01}, "temperature must be in [0, 2], got 2.01. (parameter=temperature, value=2.01)", "temperature"),
    ({"temperature": "hot"}, "temperature: Input should be a valid number", "temperature"),
    ({"temperature": [1]}, "temperature: Input should be a valid number", "temperature"),
    ({"top_p": 0}, "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)", "top_p"),
    ({"top_p": 1.01}, "top_p must be in (0, 1], got 1.01. (parameter=top_p, value=1.01)", "top_p"),
    ({"top_k": -2}, "top_k must be 0 (disable), or at least 1, got -2.", None),
    ({"top_k": 1.5}, "top_k: Input should be a valid integer", "top_k"),
    ({"min_p": -0.1}, "min_p must be in [0, 1], got -0.1.", None),
    ({"min_p": 1.01}, "min_p must be in [0, 1], got 1.01.", None),
    ({"presence_penalty": 2.01}, "presence_penalty must be in [-2, 2], got 2.01.", None),
    ({"presence_penalty": -2.01}, "presence_penalty must be in [-2, 2], got -2.01.", None),
    ({"frequency_penalty": -3}, "frequency_penalty must be in [-2, 2], got -3.0.", None),
    ({"repetition_penalty": 0}, "repetition_penalty must be greater than zero, got 0.0.", None),
    ({"n": 0}, "n must be at least 1, got 0.", None),
    ({"max_tokens": 0}, "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", "max_tokens"),
    ({"min_tokens": -1}, "min_tokens must be greater than or equal to 0, got -1.", None),
    ({"min_tokens": 5, "max_tokens": 4}, "min_tokens must be less than or equal to max_tokens=4, got 5.", None),
    ({"seed": 2**63}, f"seed: Input should be less than or equal to {2**63 - 1}", "seed"),
    ({"seed": f"-{2**63 + 1}"}, f"seed: Input should be greater than or equal to -{2**63}", "seed"),
    ({"seed": "x"}, "seed: Input should be a valid number", "seed"),
    ({"stop": ["a", ""]}, "stop cannot contain an empty string.", "stop"),
    ({"stop_token_ids": ["a"]}, "stop_token_ids must contain only integers, got ['a'].", None),
    ({"stop_token_ids": [True]}, "stop_token_ids must contain only integers, got [True].", None),
    ({"stop_token_ids": 5}, "stop_token_ids must contain only integers, got 5.", None),
    (
        {"prompt_logprobs": -1, "stream": True},
        "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)",
        "prompt_logprobs",
    ),
    (
        {"prompt_logprobs": 1, "stream": True},
        "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)",
        "prompt_logprobs",
    ),
    (
        {"prompt_logprobs": -2},
        "`prompt_logprobs` must be a positive value or -1. (parameter=prompt_logprobs, value=-2)",
        "prompt_logprobs",
    ),
]  # fmt: skip
CHAT = [
    (
        {"top_logprobs": -2, "logprobs": True},
        "`top_logprobs` must be a positive value or -1. (parameter=top_logprobs, value=-2)",
        "top_logprobs",
    ),
    (
        {"top_logprobs": 2},
        "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)",
        "top_logprobs",
    ),
    (
        {"top_logprobs": 21, "logprobs": True},
        "Requested sample logprobs of 21, which is greater than max allowed: 20 (parameter=logprobs, value=21)",
        "logprobs",
    ),
]
COMPLETION = [
    ({"logprobs": -1}, "`logprobs` must be a positive value. (parameter=logprobs, value=-1)", "logprobs"),
    (
        {"logprobs": 21},
        "Requested sample logprobs of 21, which is greater than max allowed: 20 (parameter=logprobs, value=21)",
        "logprobs",
    ),
]


@pytest.mark.parametrize(
    ("endpoint", "fields", "message", "param"),
    [(endpoint, *case) for endpoint in ("chat", "completion") for case in BOTH]
    + [("chat", *case) for case in CHAT]
    + [("completion", *case) for case in COMPLETION],
)
def test_a_field_out_of_its_range_gets_the_400_of_vllm(
    endpoint: str, fields: dict[str, Any], message: str, param: str | None
) -> None:
    with pytest.raises(Refusal) as caught:
        parse(endpoint, body(endpoint, **fields))
    assert caught.value.status == 400
    assert orjson.loads(caught.value.body) == {
        "error": {"message": message, "type": "BadRequestError", "param": param, "code": 400}
    }


@pytest.mark.parametrize("name", ["temperature", "repetition_penalty"])
def test_an_infinite_number_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse("chat", body("chat") | {name: float("inf")})
    assert f"{name} must be a finite number, got inf." in caught.value.body.decode()


@pytest.mark.parametrize("endpoint", ["chat", "completion"])
@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0},
        {"temperature": 2, "top_p": 1e-6, "top_k": -1, "min_p": 1},
        {"temperature": "0.7", "seed": -(2**63), "n": 1},
        {"priority": -(2**63), "max_tokens": 1},
        {"presence_penalty": -2, "frequency_penalty": 2, "repetition_penalty": 1e-3},
        {"min_tokens": 4, "max_tokens": 4, "seed": 2**63 - 1, "top_k": 50.0},
        {"prompt_logprobs": 0, "stream": True},
        {"stop_token_ids": [1, 2], "stop": ["a"], "temperature": None},
    ],
)
def test_what_vllm_takes_is_taken(endpoint: str, fields: dict[str, Any]) -> None:
    parse(endpoint, body(endpoint, **fields))


def test_logprobs_within_their_limits_are_taken() -> None:
    parse("chat", body("chat", logprobs=True, top_logprobs=20))
    parse("chat", body("chat", top_logprobs=0))
    parse("chat", body("chat", logprobs=True, top_logprobs=-1, prompt_logprobs=-1))
    parse("completion", body("completion", logprobs=0))
    parse("completion", body("completion", logprobs=20))


@pytest.mark.parametrize("value", ["null", [1], {}, "1.5"])
def test_top_logprobs_that_are_no_number_are_refused_as_vllm_does(value: object) -> None:
    with pytest.raises(Refusal) as refused:
        parse("chat", body("chat", logprobs=True, top_logprobs=value))
    assert refused.value.status == 400


def test_whole_numbers_may_be_texts_with_an_exponent() -> None:
    parse("chat", body("chat", min_tokens="0e400"))
    parse("chat", body("chat", min_tokens="1e0"))
