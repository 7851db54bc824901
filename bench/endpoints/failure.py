"""How a reply with status 200 reports that it failed, and how it marks its end.

Servers that have begun to answer can no longer change the status. They report a failure in different ways:

    vLLM, SGLang, OpenAI        {"error": {"message": ...}} as an event; vLLM once {"object": "error", "message": ...}
    TGI                         {"error": "...", "error_type": ...}; a block without data whose field `error` holds it
    llama.cpp                   `error: {...}` in old versions, {"error": {...}} as an event since
    FastAPI and proxies         {"detail": ...}, {"message": ..., "code": ...}, a line of JSON without `data:`
    OpenRouter                  {"error": {...}, "choices": [{..., "finish_reason": "error"}]}
    SGLang, vLLM                finish_reason "abort"; DeepSeek "insufficient_system_resource"; Zhipu "network_error"
    Groq                        {"x_groq": {"error": ...}, "choices": [...]}
    MiniMax                     {"base_resp": {"status_code": 1004, "status_msg": ...}, "choices": null}
    Anthropic                   `event: error`, {"type": "error", "error": {...}}

So a reply only succeeds if it looks like a success: an event that is not a chunk of the API, or an unknown finish
reason, is a failure, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.endpoints import decoding

END_REASONS = frozenset(
    {
        "stop", "length", "tool_calls", "function_call", "content_filter",  # OpenAI, and all that follow it
        "eos", "eos_token", "stop_token", "stop_sequence", "stop_word", "model_length", "repetition",  # TGI, Mistral, vLLM
        "end_turn", "max_tokens", "tool_use", "refusal", "pause_turn", "model_context_window_exceeded",
        "compaction",  # Anthropic's
        "content_filtered", "guardrail_intervened",  # Bedrock's
        "complete", "end", "sensitive",  # Cohere's, Zhipu's
        "safety", "recitation", "blocklist", "prohibited_content", "spii",  # Gemini's
    }
)  # fmt: skip
"""Finish reasons that mean an end, in lower case. A filter ended the reply as intended, which is not a failure."""

NO_REASON = (None, "", "null")
"""Placeholders before there is a finish reason. Alibaba's own API writes the word."""

_TELLING = (
    "error",
    "errors",
    "detail",
    "message",
    "error_message",
    "error_msg",
    "msg",
    "status_msg",
    "reason",
    "title",
)
"""Fields that hold an error message, in order of preference."""
_TELLING_ALONE = frozenset({*_TELLING, "code", "status_code", "error_code"})
"""Fields that no chunk has: an object without choices and with one of these is an error."""

_CODES_OF_SUCCESS = (None, 0, 200, "", "0", "200", "ok", "OK", "success", "Success")
_UNUSUAL = frozenset({*_TELLING_ALONE, "x_groq", "base_resp", "type", "success", "status"})
LONGEST_MESSAGE = 500


def choices_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of a reply or an event, as far as they can be read."""
    choices = event.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def place_of(choice: Mapping[str, Any], number: int) -> int:
    """The number of a choice: its own index, or else its position."""
    index = choice.get("index")
    return index if type(index) is int else number


def error_of(event: Mapping[str, Any]) -> str | None:
    """The server's message if the event or whole reply reports a failure, else None."""
    if _is_ordinary(event):
        return None
    for holder in (event, *choices_of(event), event.get("x_groq")):
        if not isinstance(holder, dict):
            continue
        for place in (holder, holder.get("delta"), holder.get("message")):
            if isinstance(place, dict) and (error := place.get("error")):
                others = _words({name: value for name, value in place.items() if name in _TELLING and name != "error"})
                if isinstance(error, bool):
                    return others
                return _words(error) if not isinstance(error, str) or others == "{}" else f"{_words(error)}: {others}"
    if event.get("object") == "error" or event.get("type") == "error":
        return _words(event)
    answer = event.get("base_resp")
    if isinstance(answer, dict) and answer.get("status_code"):
        return _words(answer)
    if _is_marked_failed(event):
        return _words({name: value for name, value in event.items() if name not in ("choices", "usage")})
    if not choices_of(event) and not isinstance(event.get("usage"), dict) and event.keys() & _TELLING_ALONE:
        words = _words(event)
        return words if any(event.get(name) for name in _TELLING_ALONE) else None
    return None


def _is_marked_failed(event: Mapping[str, Any]) -> bool:
    """Whether a field next to the choices, or the usage, reports a failure, as iFlytek, Baidu and FastChat do."""
    code, status = event.get("code"), event.get("status")
    return bool(
        event.get("success") is False
        or event.get("errors")
        or event.get("error_code")
        or event.get("error_message")
        or event.get("error_msg")
        or event.get("detail")
        or (code not in _CODES_OF_SUCCESS and event.get("message"))
        or (isinstance(status, int) and status >= 400)
        or (isinstance(status, str) and status.lower() in ("error", "failed", "failure"))
    )


def _is_ordinary(event: Mapping[str, Any]) -> bool:
    """Whether an event is so ordinary that it needs no closer look: one choice, or only usage, and no error."""
    choices = event.get("choices")
    if type(choices) is not list or len(choices) > 1 or not event.keys().isdisjoint(_UNUSUAL):
        return False
    if not choices:
        return type(event.get("usage")) is dict
    choice = choices[0]
    if type(choice) is not dict or "error" in choice or "message" in choice:
        return False
    delta = choice.get("delta")
    return (delta is None or (type(delta) is dict and "error" not in delta)) and event.get("object") != "error"


def is_chunk(event: Mapping[str, Any]) -> bool:
    """Whether an event is a chunk of the dialect: it has choices or usage, or its type marks it as one."""
    return (
        isinstance(event.get("choices"), list)
        or event.get("type") == "ping"
        or isinstance(event.get("usage"), dict)
        or event.get("object") in ("chat.completion.chunk", "text_completion", "text_completion.chunk")
    )


def ending_of(event: Mapping[str, Any]) -> tuple[set[int], str | None]:
    """(the choices that have a finish reason, the problem of the first one that does not mean an end)."""
    places: set[int] = set()
    for number, choice in enumerate(choices_of(event)):
        reason = choice.get("finish_reason")
        if isinstance(reason, dict):  # SGLang's own API: {"type": "abort", "message": ...}
            message, reason = reason.get("message"), reason.get("type")
        else:
            message = choice.get("stop_reason")
        if reason in NO_REASON:
            continue
        places.add(place_of(choice, number))
        # Gemini's OpenAI dialect appends its own reason: "content_filter: RECITATION".
        if not isinstance(reason, str) or reason.lower().partition(":")[0] not in END_REASONS:
            words = f": {message[:LONGEST_MESSAGE]}" if isinstance(message, str) and message else ""
            name = reason if isinstance(reason, str) else orjson.dumps(reason).decode()
            return places, f"the reply ended with finish_reason {name[:100]!r}{words}"
    return places, None


LIMIT_REASONS = frozenset({"length", "max_tokens", "max_output_tokens"})
"""Reasons that mean the requested token limit was reached, in lower case."""


def is_limit(reason: object) -> bool:
    """Whether this reason means that the requested token limit was reached."""
    if isinstance(reason, dict):  # SGLang's own API.
        reason = reason.get("type")
    return isinstance(reason, str) and reason.lower() in LIMIT_REASONS


def error_message(body: bytes) -> str:
    """The message of an error response: the server's, else the start of the body."""
    try:
        response = decoding.loads(body)
    except orjson.JSONDecodeError:
        return excerpt(body)
    if isinstance(response, list) and len(response) == 1:  # Gemini's.
        (response,) = response
    words = error_of(response) if isinstance(response, dict) else None
    return words if words is not None else excerpt(body)


def says_lost(document: Mapping[str, Any]) -> bool:
    """Whether an error, or its container, means that the previous response is unknown, in the format of OpenAI or of
    vLLM."""
    error = document.get("error")
    error = error if isinstance(error, dict) else document
    code, parameter = error.get("code"), error.get("param")
    return code == "previous_response_not_found" or (
        parameter in ("previous_response_id", "response_id") and 404 in (code, document.get("status"))
    )


def is_lost_response(body: bytes) -> bool:
    """Whether an error response means that the stored response is lost."""
    try:
        document = decoding.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and says_lost(document)


def page_title(text: bytes) -> str | None:
    """The title of an HTML page, in quotes, or "" without a title. Returns None if the text is not HTML."""
    start = text[:2_000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start[:14].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return None
    lower = start.lower()
    begin, end = lower.find(b"<title>"), lower.find(b"</title>")
    title = start[begin + 7 : end].decode("utf-8", "replace").strip() if 0 <= begin < end else ""
    return f" ({title!r})" if title else ""


def excerpt(body: bytes) -> str:
    """The start of a body, for messages."""
    return repr(body[:200].decode("utf-8", "replace")) + (" ..." if len(body) > 200 else "")


def _words(error: object) -> str:
    """The message of an error object, else all of it as JSON."""
    if isinstance(error, dict):
        inner = next((error[name] for name in _TELLING if error.get(name)), None)
        if isinstance(inner, dict):
            return _words(inner)
        if isinstance(inner, str):
            return inner[:LONGEST_MESSAGE]
        if inner is not None and "detail" in error:
            error = inner
    return error[:LONGEST_MESSAGE] if isinstance(error, str) else orjson.dumps(error).decode()[:LONGEST_MESSAGE]
