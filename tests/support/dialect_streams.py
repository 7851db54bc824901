"""Events of Messages and Responses with the fields of vLLM 0.32 and llama.cpp, without the empty ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import ParsedReply, ReadOptions
from bench.transport.sse import SSEParser

Event = dict[str, Any]


def framed(events: Sequence[Event], *, named: bool = True) -> bytes:
    """The bytes of a stream: `event:` and `data:` lines."""
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named and "type" in event else ""
        lines.append(f"{name}data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n")
    return "".join(lines).encode()


def read(endpoint: str, stream: bytes, cuts: Sequence[int] = (), **options: Any) -> ParsedReply:
    """The endpoint reader's result for a stream that arrives in these pieces."""
    parser, reader = SSEParser(), ENDPOINTS[endpoint].event_reader(ReadOptions(**options))
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        events = parser.feed(stream[start:end])
        reader.feed(events, parser.take_other_lines())
    unfinished = parser.end()
    reader.feed((), parser.take_other_lines())
    return reader.close(unfinished)


# ---- Messages ------------------------------------------------------------------------------------------------------


def message_start(**usage: Any) -> Event:
    said = {"input_tokens": 4, "output_tokens": 1, **usage}
    message: Event = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "m",
        "stop_reason": None,
    }
    return {"type": "message_start", "message": {**message, "usage": said}}


def block(index: int = 0, **content: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(kind: str, index: int = 0, **content: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **content}}


def text(words: str) -> Event:
    return delta("text_delta", text=words)


def block_stop(index: int = 0) -> Event:
    return {"type": "content_block_stop", "index": index}


def message_delta(reason: str | None = "max_tokens", **usage: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


MESSAGE_STOP: Event = {"type": "message_stop"}
PING: Event = {"type": "ping"}


def messages(*words: str, **usage: Any) -> list[Event]:
    """A complete stream of text."""
    said = {"output_tokens": len(words), **usage}
    return [
        message_start(),
        block(type="text", text=""),
        *map(text, words),
        block_stop(),
        message_delta(**said),
        MESSAGE_STOP,
    ]


# ---- Responses -----------------------------------------------------------------------------------------------------


def response(status: str = "completed", **fields: Any) -> Event:
    return {"id": "resp_1", "object": "response", "model": "m", "status": status, "output": [], **fields}


def usage(output: int, *, input: int = 4, cached: int = 0, reasoning: int = 0) -> Event:
    return {
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input + output,
    }


CREATED: Event = {"type": "response.created", "sequence_number": 0, "response": response("in_progress", usage=None)}


def item(number: int = 2, **fields: Any) -> Event:
    return {"type": "response.output_item.added", "sequence_number": number, "output_index": 0, "item": fields}


def part(kind: str, words: str, number: int = 3) -> Event:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"content_index": 0, "delta": words, **place, "sequence_number": number, "type": f"response.{kind}.delta"}


def ended(kind: str = "completed", **fields: Any) -> Event:
    return {"type": f"response.{kind}", "sequence_number": 99, "response": response(kind, **fields)}


def responses(*words: str, **fields: Any) -> list[Event]:
    """A complete stream of text, with numbered events."""
    said = {"usage": usage(len(words)), **fields}
    parts = [part("output_text", word, number) for number, word in enumerate(words, 3)]
    return [CREATED, item(type="message", role="assistant", content=[]), *parts, ended(**said)]
