"""OpenAI's Responses: a chat in; text, reasoning and function calls out. vLLM and llama.cpp serve them too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import chat_translation
from bench.endpoints.answer_parts import responses_answer
from bench.endpoints.failure import excerpt, is_limit
from bench.endpoints.interface import BodyOptions, Endpoint, ParsedReply, ReadOptions, asked_tokens, put_asked
from bench.endpoints.responses_reader import (
    ResponsesReader,
    incomplete_reason,
    is_last,
    items_of,
    may_end,
    usage_of,
    wrong_end,
)
from bench.endpoints.typed_events import words
from bench.endpoints.whole_reply import WholeText, json_object, malformed, parsed
from bench.workload import Encoded
from promptset.samples import Sample

_OWN_METADATA = re.compile(rb'"metadata"\s*:\s*\{')
_EXPIRES = re.compile(rb'"code"\s*:\s*"connection_expiring"')
"""vLLM sends it five minutes before it closes an hour-old connection: it is not a failure."""


class ResponsesMessages:
    """A request is one message whose metadata holds the request's ids, unless it has its own metadata."""

    may_end = staticmethod(may_end)
    is_last = staticmethod(is_last)

    def messages(self, body: bytes, ids: Mapping[str, str]) -> list[bytes]:
        fields = orjson.loads(body) if _OWN_METADATA.search(body) is not None else {}
        metadata = b"" if "metadata" in fields else b'"metadata":%b,' % orjson.dumps(ids)
        return [b'{"type":"response.create",%b%b' % (metadata, body[1:])]

    def is_beside(self, message: bytes, *, begun: bool) -> bool:
        """Whether a message announces that the connection will be closed."""
        del begun
        return _EXPIRES.search(message) is not None


class Responses(Endpoint):
    """`POST /v1/responses`. Usage comes with the last event, which also tells whether the response is complete."""

    path = "/responses"
    socket = ResponsesMessages()
    takes_messages = True
    probe_tokens = 16
    """OpenAI's own server requires at least this."""

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The JSON body for a sample. A full request body keeps its own fields; `extra` overrides everything."""
        if sample.body is not None:
            body = dict(sample.body)
        else:
            chat: Sequence[Mapping[str, Any]] | None = sample.messages
            body = {}
            if chat is not None and sample.stored:
                # Servers that follow OpenAI do not store system messages, so each request sends its instructions.
                instructions, chat = chat_translation.instructions_of(chat)
                body["store"] = True
                if instructions:
                    body["instructions"] = instructions
                if sample.previous is not None:
                    body["previous_response_id"] = sample.previous
            body["input"] = sample.prompt if chat is None else chat_translation.items_of(chat)
            if sample.tools is not None:
                body["tools"] = chat_translation.responses_tools(sample.tools)
        own_model = put_asked(body, sample, options, "max_output_tokens")
        if options.tool_choice is not None and body.get("tools"):
            body["tool_choice"] = chat_translation.responses_tool_choice(options.tool_choice)
        if options.extra:
            body.update(options.extra)
        stream = bool(body["stream"])
        if options.websocket:
            stream = True
            for name in ("stream", "background"):
                body.pop(name, None)
        asked = body.get("max_output_tokens")
        return Encoded(body=orjson.dumps(body), stream=stream, output_tokens_asked=asked_tokens(asked), model=own_model)

    def event_reader(self, options: ReadOptions) -> ResponsesReader:
        return ResponsesReader(options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        response = json_object(body)
        if isinstance(response, ParsedReply):
            return response
        output, status, usage = response.get("output"), response.get("status"), response.get("usage")
        if not isinstance(output, list) and not response.get("error"):
            return malformed(f"a reply without output: {excerpt(body)}")
        output = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        text, content, calls = items_of(output)
        whole = WholeText(
            text=text,
            content=content,
            calls=calls,
            usage=usage_of(usage) if isinstance(usage, dict) else None,
            root=response,
            ended=status is not None,
            end_field="status",
            reason=status,
            limited=is_limit(incomplete_reason(response)),
            wrong=wrong_end(response, str(status)) if status is not None or response.get("error") else None,
            answer=responses_answer(content, output, response.get("id")) if options.keep_answer else None,
        )
        return parsed(whole, body, options)

    def error_message(self, body: bytes) -> str:
        response = json_object(body)
        return excerpt(body) if isinstance(response, ParsedReply) else words(response)
