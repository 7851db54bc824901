"""The wire format of vLLM's OpenAI-compatible server, as pure functions: request bodies to `RequestParams`, replies to bytes.

Rules (vLLM 0.11 and later):
- Compact JSON without unset fields, one choice.
- A chat stream opens with a role chunk at the first engine output. A completion stream has none.
- The last chunk of text carries `finish_reason` and `stop_reason`.
- `stream_options.include_usage` adds a chunk with usage and no choices. `continuous_usage_stats` puts usage on every chunk.
- Unknown body fields are accepted and ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.formats import parse_document, parse_tool_choice, parse_tools
from mockserver.dialect.openai_frames import ChatFrames, CompletionFrames
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal, refusal_of, refuse
from mockserver.dialect.sampling import (
    MAX_LOGPROBS,
    check_sampling,
    flag,
    own_length,
    priority_of,
    stops,
    token_limit,
    whole_number,
)

MOST_CHOICES = 128
"""OpenAI's limit for `n`."""


def parse_body(body: bytes, *models: str) -> dict[str, Any]:
    """The JSON object of a request. Raises Refusal if it is not an object (400) or names a model other than these
    (404)."""
    try:
        row = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        refuse(f"The request body is not valid JSON: {e}")
    if not isinstance(row, dict):
        refuse("The request body must be a JSON object.")
    return with_model(row, *models)


def with_model(row: dict[str, Any], *models: str) -> dict[str, Any]:
    """Checks the model of a request. Raises Refusal (404) if it is not one of these."""
    asked = row.get("model")
    if asked is not None and asked not in models:
        named = ", ".join(f"`{model}`" for model in models)
        has = f"one model: {named}" if len(models) == 1 else f"the models {named}"
        refuse(f"The model `{asked}` does not exist. This server has {has}.", "model", 404)
    return row


def _common(row: dict[str, Any], asked_tokens: int | None, *, chat: bool) -> dict[str, Any]:
    stream = flag(row, "stream")
    options = row.get("stream_options")
    if options is not None and not isinstance(options, dict):
        refuse("stream_options must be an object.", "stream_options")
    if options is not None and not stream:
        refuse("Stream options can only be defined when `stream=True`.", "stream_options")
    check_sampling(row, asked_tokens, chat=chat)
    include_usage = options is not None and flag(options, "include_usage", "stream_options.")
    continuous = options is not None and flag(options, "continuous_usage_stats", "stream_options.")
    return {
        "stream": stream,
        "include_usage": include_usage,
        "continuous_usage": include_usage and continuous,
        "asked_tokens": asked_tokens,
        "stop": stops(row),
        "keep_stop": flag(row, "include_stop_str_in_output"),
        "document": parse_document(row),
        **own_length(row),
        "n": _choices(row),
        "priority": priority_of(row),
    }


def _choices(row: dict[str, Any]) -> int:
    n = row.get("n")
    if n is None:
        return 1
    if type(n) is not int:
        refuse("n must be a whole number.", "n")
    if n < 1:
        refuse(f"n must be at least 1, got {n}.")
    if n > MOST_CHOICES:
        refuse(f"n must be at most {MOST_CHOICES}, got {n}.", "n")
    return n


def parse_chat(row: dict[str, Any]) -> RequestParams:
    """A body of /v1/chat/completions. Raises Refusal (400)."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        refuse("messages must be a list with at least one message.", "messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            refuse(f"messages[{i}] must be an object with a role.", "messages")
        if not isinstance(message.get("content"), str | list | None):
            refuse(f"messages[{i}].content must be a text or a list of parts.", "messages")
    asked = token_limit(row, "max_completion_tokens")
    old_name = token_limit(row, "max_tokens")
    tools = parse_tools(row)
    parallel = row.get("parallel_tool_calls")
    return RequestParams(
        messages=messages,
        tools=tools,
        tool_choice=parse_tool_choice(row, tools),
        parallel_calls=parallel is None or flag(row, "parallel_tool_calls"),
        logprobs=_chat_logprobs(row),
        **_common(row, old_name if asked is None else asked, chat=True),
    )


def _chat_logprobs(row: dict[str, Any]) -> int | None:
    """The number of alternatives that the request wants. `check_sampling` checks the range."""
    if not flag(row, "logprobs"):
        return None
    top = row.get("top_logprobs")
    return 0 if top is None else _every(whole_number("top_logprobs", top))


def _every(top: int) -> int:
    """In vLLM, -1 means as many as allowed."""
    return MAX_LOGPROBS if top == -1 else top


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(i) is int for i in value)


def parse_completion(row: dict[str, Any]) -> RequestParams:
    """A body of /v1/completions. Raises Refusal (400)."""
    prompt = row.get("prompt")
    several = isinstance(prompt, list) and bool(prompt) and not _is_ids(prompt)
    prompts: list[Any] = prompt if isinstance(prompt, list) and several else [prompt]
    if not all(isinstance(each, str) or _is_ids(each) for each in prompts):
        refuse("prompt must be a text or a list of token ids, or a list of either, and not empty.", "prompt")
    params = _common(row, token_limit(row, "max_tokens"), chat=False)
    if len(prompts) * params["n"] > MOST_CHOICES:
        refuse(f"{len(prompts)} prompts with n={params['n']} are over {MOST_CHOICES} choices.", "prompt")
    top = row.get("logprobs")
    return RequestParams(
        prompt=prompts[0],
        more_prompts=tuple(prompts[1:]),
        echo_prompt=flag(row, "echo"),
        logprobs=None if top is None else _every(whole_number("logprobs", top)),
        **params,
    )


def characters_refusal(limit: int, characters: int, asked_tokens: int, longest_token: int) -> Refusal:
    """The 400 for a text that cannot fit into the context whatever its tokens are, so it need not be counted."""
    most = limit - asked_tokens
    message = (
        f"You passed {characters} input characters and requested {asked_tokens} output tokens. However, the model's context "
        f"length is only {limit} tokens, resulting in a maximum input length of {most} tokens (at most "
        f"{most * longest_token} characters). Please reduce the length of the input prompt. "
        f"(parameter=input_text, value={characters})"
    )
    return refusal_of(400, message, "input_text")


def context_refusal(limit: int, input_tokens: int, asked_tokens: int, at_least: bool = False) -> Refusal:
    """The 400 for a request that exceeds the context."""
    least = "at least " if at_least else ""
    message = (
        f"This model's maximum context length is {limit} tokens. However, you requested {asked_tokens} output tokens "
        f"and your prompt contains {least}{input_tokens} input tokens, for a total of {least}{input_tokens + asked_tokens} "
        "tokens. "
        "Please reduce the length of the input prompt or the number of requested output tokens."
    )
    return refusal_of(400, message, "input_tokens")


CHAT = Endpoint(
    path="/v1/chat/completions",
    id_prefix="chatcmpl-",
    parse=parse_chat,
    frames=ChatFrames,
    is_chat=True,
)

COMPLETION = Endpoint(
    path="/v1/completions",
    id_prefix="cmpl-",
    parse=parse_completion,
    frames=CompletionFrames,
    is_chat=False,
)


def _card(model: str, created: int, max_model_len: int) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{model}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": model,
        "parent": None,
        "max_model_len": max_model_len,
        "permission": [permission],
    }


def models_body(models: Sequence[str], created: int, max_model_len: int) -> bytes:
    """The body of /v1/models."""
    return orjson.dumps({"object": "list", "data": [_card(model, created, max_model_len) for model in models]})


def model_body(asked: str, models: Sequence[str], created: int, max_model_len: int) -> bytes:
    """The body of /v1/models/{asked}. Raises Refusal (404) in OpenAI's format if the mock has no such model."""
    if asked not in models:
        message = f"The model '{asked}' does not exist"
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        raise Refusal(404, orjson.dumps({"error": error}), message=message)
    return orjson.dumps(_card(asked, created, max_model_len))
