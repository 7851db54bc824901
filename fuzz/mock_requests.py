"""Bodies and headers of requests as the mock reads them: parameters, or a refusal with an HTTP status.

An input: lines of headers (`x-mock-fault: stall`), an empty line, the body. Each endpoint reads it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.datastructures import Headers

from fuzz.target import Target
from mockserver.dialect import openai
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.endpoints import ENDPOINTS, POOLING_ENDPOINTS, SOCKETS
from mockserver.dialect.overrides import read_overrides
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.socket_responses import parse_message
from mockserver.dialect.socket_talk import Ask


def _parsed(endpoint: Endpoint, row: dict[str, Any]) -> None:
    try:
        params = endpoint.parse(row)
    except Refusal as e:
        refused = endpoint.refused(e)
        assert 400 <= refused.status < 500
        assert refused.body
        return
    assert params.n >= 1
    assert params.asked_tokens is None or params.asked_tokens >= 0


def read(data: bytes) -> None:
    """One input."""
    head, _, body = data.partition(b"\n\n")
    pairs = [line.partition(b":") for line in head.split(b"\n")]
    raw = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    try:
        read_overrides(Headers(raw=raw))
    except Refusal as e:
        assert 400 <= e.status < 600
    for talk_of in SOCKETS.values():
        talk = talk_of(raw, {})
        taken = talk.take(body)
        if isinstance(taken, Ask) and talk.endpoint is SOCKETS["/v1/realtime"].endpoint:
            _parsed(talk.endpoint, openai.parse_body(taken.body, "a", "b"))
    try:
        row = openai.parse_body(body, "a", "b")
    except Refusal as e:
        assert 400 <= e.status < 500
        return
    for endpoint in ENDPOINTS.values():
        for parse in (endpoint.parse, parse_message):
            _parsed(replace(endpoint, parse=parse), row)
    for pooling in {one.id_prefix: one for one in POOLING_ENDPOINTS.values()}.values():
        try:
            assert pooling.parse(row, 8).inputs
        except Refusal as e:
            assert 400 <= e.status < 500


WORDS = (
    b"model",
    b"messages",
    b"prompt",
    b"max_tokens",
    b"stream",
    b"stream_options",
    b"tools",
    b"tool_choice",
    b"response_format",
    b"stop",
    b"n",
    b"logprobs",
    b"top_logprobs",
    b"input",
    b"documents",
    b"query",
    b"system",
    b"thinking",
    b"instructions",
    b"previous_response_id",
    b"text",
    b"metadata",
    b"type",
    b"role",
    b"content",
    b"function",
    b"parameters",
    b"echo",
    b"image_url",
    b"priority",
    b"x-mock-fault: stall:after=2,for=1s\n",
    b"x-mock-ttft: 5ms\n",
    b"x-mock-fault: reset;500\n",
    b"response.create",
    b"session.update",
    b"conversation.item.create",
    b"input_audio_buffer.append",
    b"input_audio_buffer.commit",
    b"output_modalities",
    b"session",
    b"item",
    b"audio",
    b"response",
)
TARGET = Target(read, form="json", words=WORDS)
