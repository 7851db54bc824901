"""Responses of OpenAI's dialect that come in one piece, those of errors included.

`stream_reader.py` reads streams and shares with this how usage, errors and choices look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from bench.endpoints.interface import ParsedReply, ReadOptions
from bench.records import TokensFrom

Texts = Callable[[Mapping[str, Any]], tuple[str, str]]
"""Of a choice: all its text, and the text without reasoning and tool calls."""


def read_whole(body: bytes, texts: Texts, options: ReadOptions) -> ParsedReply:
    """Decode a response that came in one piece."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        return ParsedReply(malformed=f"the body is not JSON ({e}): {excerpt(body)}")
    if not isinstance(response, dict):
        return ParsedReply(malformed=f"the body is not a JSON object: {excerpt(body)}")
    if (error := error_of(response)) is not None:
        return ParsedReply(error=error)
    choice = first_choice(response)
    text, content = texts(choice)
    usage = response.get("usage")
    usage = usage if isinstance(usage, dict) else None
    counted = options.count(text) if options.count is not None else None
    output_tokens, source = output_tokens_of(usage, counted, None)
    return ParsedReply(
        input_tokens=whole_number(usage.get("prompt_tokens")) if usage is not None else None,
        output_tokens=output_tokens,
        output_tokens_from=source,
        counted=counted,
        text=text,
        content=content,
        finished=choice.get("finish_reason") is not None,
        done=True,
        malformed=None if choice else f"a reply without choices: {excerpt(body)}",
    )


def error_message(body: bytes) -> str:
    """What an error response says, for people: the message of OpenAI's error object, else the start of the body."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError:
        return excerpt(body)
    message = error_of(response) if isinstance(response, dict) else None
    if message is None and isinstance(response, dict) and (detail := response.get("detail")) is not None:
        message = detail if isinstance(detail, str) else orjson.dumps(detail).decode()
    return message[:500] if message is not None else excerpt(body)


def first_choice(event: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice of a reply or of an event; empty where there is none."""
    choices = event.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return cast(dict[str, Any], choices[0])
    return {}


def error_of(event: Mapping[str, Any]) -> str | None:
    """What the error object in it says, in 500 characters at most; None where it holds none."""
    error = event.get("error")
    if error is None and event.get("object") == "error":
        error = event
    if error is None:
        return None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])[:500]
    return error[:500] if isinstance(error, str) else orjson.dumps(error).decode()[:500]


def output_tokens_of(
    usage: Mapping[str, Any] | None, counted: int | None, token_chunks: int | None
) -> tuple[int | None, TokensFrom | None]:
    """The output tokens of a reply, and who says so: the usage, else our own count, else the number of token chunks."""
    if usage is not None and (tokens := whole_number(usage.get("completion_tokens"))) is not None:
        return tokens, "usage"
    if counted is not None:
        return counted, "tokenizer"
    return (token_chunks, "chunks") if token_chunks is not None else (None, None)


def whole_number(value: object) -> int | None:
    """The value where it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def excerpt(body: bytes) -> str:
    """The start of a body, for people."""
    return repr(body[:200].decode("utf-8", "replace")) + (" ..." if len(body) > 200 else "")
