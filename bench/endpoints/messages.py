"""Anthropic's Messages: a chat in; text, thinking and tool calls out. vLLM and llama.cpp serve them too."""

from __future__ import annotations

import orjson

from bench.endpoints import chat_translation
from bench.endpoints.answer_parts import messages_answer
from bench.endpoints.failure import excerpt, is_limit
from bench.endpoints.interface import BodyOptions, Endpoint, ParsedReply, Problem, ReadOptions, asked_tokens, put_asked
from bench.endpoints.messages_reader import MessagesReader, blocks_of, usage_of, wrong_reason
from bench.endpoints.typed_events import words
from bench.endpoints.whole_reply import WholeText, json_object, malformed, parsed
from bench.records import Outcome
from bench.workload import Encoded
from promptset.samples import Sample

VERSION = "2023-06-01"
"""The API version in the header `anthropic-version`; --header overrides it."""

MOST_TOKENS = 4096
"""The API requires a limit in every request. This is the default if neither the data nor the flags set one."""


class Messages(Endpoint):
    """`POST /v1/messages`. Usage always comes; a stream ends with `message_stop`."""

    path = "/messages"
    takes_messages = True
    spoken_by = "a server of Anthropic's Messages"
    key_variable = "ANTHROPIC_API_KEY"

    def headers(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        """The version of the API, and the key."""
        version = (("anthropic-version", VERSION),)
        return version if api_key is None else (*version, ("x-api-key", api_key))

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The JSON body for a sample. A full request body keeps its own fields; `extra` overrides everything."""
        if sample.body is not None:
            body = dict(sample.body)
        else:
            chat = sample.messages if sample.messages is not None else [{"role": "user", "content": sample.prompt}]
            system, messages = chat_translation.messages_of(chat)
            body = {"system": system, "messages": messages} if system else {"messages": messages}
            if sample.tools is not None:
                body["tools"] = chat_translation.messages_tools(sample.tools)
        own_model = put_asked(body, sample, options, "max_tokens")
        if options.tool_choice is not None and body.get("tools"):
            body["tool_choice"] = chat_translation.messages_tool_choice(options.tool_choice)
        if options.extra:
            body.update(options.extra)
        asked = body.get("max_tokens")
        body.setdefault("max_tokens", MOST_TOKENS)
        return Encoded(
            body=orjson.dumps(body),
            stream=bool(body["stream"]),
            output_tokens_asked=asked_tokens(asked),
            model=own_model,
        )

    def event_reader(self, options: ReadOptions) -> MessagesReader:
        return MessagesReader(options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        response = json_object(body)
        if isinstance(response, ParsedReply):
            return response
        if response.get("type") == "error" or response.get("error"):
            return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, words(response)))
        blocks, reason, usage = response.get("content"), response.get("stop_reason"), response.get("usage")
        if not isinstance(blocks, list):
            return malformed(f"a reply without content: {excerpt(body)}")
        text, content, calls = blocks_of(blocks)
        whole = WholeText(
            text=text,
            content=content,
            calls=calls,
            usage=usage_of(usage) if isinstance(usage, dict) else None,
            root=response,
            ended=reason is not None,
            end_field="stop_reason",
            reason=reason,
            limited=is_limit(reason),
            wrong=None if reason is None else wrong_reason(reason),
            answer=messages_answer(content, [b for b in blocks if isinstance(b, dict)])
            if options.keep_answer
            else None,
        )
        return parsed(whole, body, options)

    def error_message(self, body: bytes) -> str:
        response = json_object(body)
        return excerpt(body) if isinstance(response, ParsedReply) else words(response)
