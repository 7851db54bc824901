"""Replies of OpenAI's dialect that come in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from bench.endpoints.failure import ending_of, error_of, excerpt, first_choice, page_title
from bench.endpoints.interface import ParsedReply, Problem, ReadOptions
from bench.endpoints.usage import ReplyText, cached_tokens, reasoning_tokens, token_counts
from bench.records import Outcome

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint


def read_whole(body: bytes, endpoint: OpenAIEndpoint, options: ReadOptions) -> ParsedReply:
    """Decode a response that came in one piece."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        if (title := page_title(body)) is not None:
            return _malformed(f"the body is an HTML page{title}, not JSON")
        return _malformed(f"the body is not JSON ({e}): {excerpt(body)}")
    if not isinstance(response, dict):
        return _malformed(f"the body is not a JSON object: {excerpt(body)}")
    if (error := error_of(response)) is not None:
        return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
    choice = first_choice(response)
    if not choice:
        return _malformed(f"a reply without choices: {excerpt(body)}")
    text, content = endpoint.texts(choice)
    calls = len(endpoint.calls_in(choice))
    usage = response.get("usage")
    tokens = token_counts(
        usage if isinstance(usage, dict) else None,
        ReplyText(
            asked=options.output_tokens_asked,
            most_bytes=len(text.encode()),
            token_chunks=None,
            choices=len(response["choices"]),
            tool_calls=calls > 0,
            counted=options.count(text) if options.count is not None else None,
        ),
    )
    ended, failed = ending_of(response)
    problem: Problem | None = None
    if failed is not None:
        problem = Problem(Outcome.STREAM_ERROR, failed)
    elif not ended:
        problem = Problem(Outcome.MALFORMED, f"the reply has no finish_reason: {excerpt(body)}")
    elif not text and not calls and options.output_tokens_asked != 0:
        problem = Problem(Outcome.NO_TOKENS, f"the reply has no text (finish_reason {choice.get('finish_reason')!r})")
    return ParsedReply(
        input_tokens=tokens.input_tokens,
        cached_tokens=cached_tokens(usage if isinstance(usage, dict) else None, response.get("timings")),
        output_tokens=tokens.output_tokens,
        output_tokens_from=tokens.output_tokens_from,
        reasoning_tokens=reasoning_tokens(usage if isinstance(usage, dict) else None),
        tool_calls=calls if endpoint.takes_messages else None,
        usage_contradiction=tokens.contradiction,
        counted=options.count(text) if options.count is not None else None,
        text=text,
        content=content,
        complete=True,
        problem=problem,
    )


def _malformed(message: str) -> ParsedReply:
    return ParsedReply(problem=Problem(Outcome.MALFORMED, message))
