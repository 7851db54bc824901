"""What a response said, in the OpenAI-compatible dialect, sans-IO: the bodies that come in one piece, and of errors.

Streams are read by `stream_reader.py`, which shares with this how usage, errors and choices look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from bench.records import TokensFrom


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a response said. The chunk fields have one entry an event; `counted` is our own count over the text."""

    chunk_kind: str = ""
    chunk_tokens: tuple[int, ...] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_from: TokensFrom | None = None
    counted: int | None = None
    text: str = ""
    content: str = ""
    """The text without reasoning and tool calls."""
    finished: bool = False
    done: bool = False
    error: str | None = None
    malformed: str | None = None


def read_whole(body: bytes, count: Callable[[str], int] | None = None) -> Reply:
    """Decode a response that came in one piece."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        return Reply(malformed=f"the body is not JSON ({e}): {excerpt(body)}")
    if not isinstance(said, dict):
        return Reply(malformed=f"the body is not a JSON object: {excerpt(body)}")
    if (error := error_of(said)) is not None:
        return Reply(error=error)
    choice = first_choice(said)
    message = choice.get("message")
    parts = (
        [message.get(name) for name in ("reasoning", "reasoning_content", "content")]
        if isinstance(message, dict)
        else [choice.get("text")]
    )
    text = "".join(part for part in parts if isinstance(part, str))
    content = parts[-1]
    usage = said.get("usage")
    usage = usage if isinstance(usage, dict) else None
    counted = count(text) if count is not None else None
    output_tokens, source = output_tokens_of(usage, counted, None)
    return Reply(
        input_tokens=whole_number(usage.get("prompt_tokens")) if usage is not None else None,
        output_tokens=output_tokens,
        output_tokens_from=source,
        counted=counted,
        text=text,
        content=content if isinstance(content, str) else "",
        finished=choice.get("finish_reason") is not None,
        done=True,
        malformed=None if choice else f"a reply without choices: {excerpt(body)}",
    )


def error_message(body: bytes) -> str:
    """What an error response says, for people: the message of OpenAI's error object, else the start of the body."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return excerpt(body)
    message = error_of(said) if isinstance(said, dict) else None
    if message is None and isinstance(said, dict) and said.get("detail") is not None:
        message = said["detail"] if isinstance(said["detail"], str) else orjson.dumps(said["detail"]).decode()
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
    if usage is not None and (said := whole_number(usage.get("completion_tokens"))) is not None:
        return said, "usage"
    if counted is not None:
        return counted, "tokenizer"
    return (token_chunks, "chunks") if token_chunks is not None else (None, None)


def whole_number(value: object) -> int | None:
    """The value where it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def excerpt(body: bytes) -> str:
    """The start of a body, for people."""
    return repr(body[:200].decode("utf-8", "replace")) + (" ..." if len(body) > 200 else "")
