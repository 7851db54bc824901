"""Replies in one piece, of OpenAI's dialect, and the code that all dialects share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from bench.endpoints import decoding
from bench.endpoints.answer_parts import CallParts, chat_answer, tokens_in
from bench.endpoints.failure import choices_of, ending_of, error_of, excerpt, is_limit, page_title, place_of
from bench.endpoints.interface import ParsedReply, Problem, ReadOptions
from bench.endpoints.server_words import server_words, workers_of
from bench.endpoints.usage import ReplyText, cached_tokens, reasoning_tokens, token_counts, usage_in
from bench.records import Outcome
from promptset.answers import Answer

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeText:
    """The content of a reply: all its text, the text without reasoning and tool calls, and the calls (None: the API has
    none).

    `reason` is why it ended, for messages, and `wrong` why it is not a success. `ended`: whether it marks its end.
    """

    text: str
    content: str
    calls: int | None
    usage: Mapping[str, Any] | None
    root: Mapping[str, Any]
    """The whole reply, for the server's own numbers."""
    choices: int = 1
    ended: bool = True
    limited: bool = False
    """Whether the reply states that it ended at the token limit."""
    end_field: str
    reason: object
    wrong: str | None
    answer: Answer | None = None


def read_whole(body: bytes, endpoint: OpenAIEndpoint, options: ReadOptions) -> ParsedReply:
    """Decode a response of OpenAI's dialect."""
    response = json_object(body)
    if isinstance(response, ParsedReply):
        return response
    if (error := error_of(response)) is not None:
        return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
    choices = choices_of(response)
    choice = choices[0] if choices else {}
    if not choice:
        return malformed(f"a reply without choices: {excerpt(body)}")
    texts = [endpoint.texts(entry) for entry in choices]
    ends, wrong = ending_of(response)
    places = {place_of(entry, number) for number, entry in enumerate(choices)}
    whole = WholeText(
        text="".join(text for text, _ in texts),
        content="".join(content for _, content in texts),
        calls=sum(len(endpoint.calls_in(entry)) for entry in choices) if endpoint.takes_messages else None,
        usage=usage_in(response, choices),
        root=response,
        choices=len(places),
        ended=places <= ends,
        end_field="finish_reason",
        reason=choice.get("finish_reason"),
        limited=is_limit(choice.get("finish_reason")),
        wrong=wrong,
        answer=_answer(choice, texts[0][1], endpoint) if options.keep_answer else None,
    )
    return parsed(whole, body, options)


def _answer(choice: Mapping[str, Any], content: str, endpoint: OpenAIEndpoint) -> Answer:
    parts, name = CallParts(), endpoint.reasoning_field(choice)
    endpoint.add_calls(choice, parts)
    message = choice.get("message")
    reasoning = message.get(name) if isinstance(message, dict) else None
    return chat_answer(content, parts, reasoning if isinstance(reasoning, str) else "", name, tokens_in(choice))


def json_object(body: bytes) -> dict[str, Any] | ParsedReply:
    """The body as a JSON object, or the parsed reply for an invalid body."""
    try:
        response = decoding.loads(body)
    except orjson.JSONDecodeError as e:
        if (title := page_title(body)) is not None:
            return malformed(f"the body is an HTML page{title}, not JSON")
        return malformed(f"the body is not JSON ({e}): {excerpt(body)}")
    return response if isinstance(response, dict) else malformed(f"the body is not a JSON object: {excerpt(body)}")


def parsed(whole: WholeText, body: bytes, options: ReadOptions) -> ParsedReply:
    """The reply, with its tokens counted and judged."""
    counted = options.count(whole.text) if options.count is not None else None
    tokens = token_counts(
        whole.usage,
        ReplyText(
            asked=options.output_tokens_asked,
            most_bytes=len(whole.text.encode()),
            token_chunks=None,
            choices=whole.choices,
            tool_calls=bool(whole.calls),
            counted=counted,
            limited=whole.limited,
        ),
    )
    problem: Problem | None = None
    if whole.wrong is not None:
        problem = Problem(Outcome.STREAM_ERROR, whole.wrong)
    elif not whole.ended:
        problem = Problem(Outcome.MALFORMED, f"the reply has no {whole.end_field}: {excerpt(body)}")
    elif not whole.text and not whole.calls and options.output_tokens_asked != 0:
        problem = Problem(Outcome.NO_TOKENS, f"the reply has no text ({whole.end_field} {whole.reason!r})")
    return ParsedReply(
        input_tokens=tokens.input_tokens,
        cached_tokens=cached_tokens(whole.usage, whole.root.get("timings")),
        output_tokens=tokens.output_tokens,
        output_tokens_from=tokens.output_tokens_from,
        reasoning_tokens=reasoning_tokens(whole.usage),
        tool_calls=whole.calls,
        usage_contradiction=tokens.contradiction,
        output_tokens_doubt=tokens.doubt,
        counted=counted,
        text=whole.text,
        content=whole.content,
        server=server_words(whole.root.get("metrics"), whole.root.get("timings")),
        replica=workers_of(whole.root.get("nvext")),
        limited=whole.limited,
        answer=whole.answer,
        complete=True,
        problem=problem,
    )


def malformed(message: str) -> ParsedReply:
    """A reply that cannot be read."""
    return ParsedReply(problem=Problem(Outcome.MALFORMED, message))
