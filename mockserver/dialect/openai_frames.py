"""The JSON of OpenAI's chat and completions, for replies of any shape.

The head shared by all events of a reply is encoded once, as are the bytes around the text of an ordinary chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson

from mockserver.dialect.frames import (
    Event,
    FinishReason,
    Piece,
    ReplyFrames,
    ReplyIdentity,
    SaidBlock,
    SaidChoice,
    TokenLogprob,
    UsageCounts,
)
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, error_body
from mockserver.dialect.reply_details import root_details, usage_details
from mockserver.dialect.sse import DONE, event

_PLANNED_ERROR = error_body(500, PLANNED_FAILURE)
_BROKEN_JSON = b'{"id":"broken","choices":[{"index":0,"delta":{"conte'
_DONE = Event(DONE, "o")
_OPEN = b',"logprobs":null,"finish_reason":null}'
"""The end of an unfinished choice in a chunk."""
_ROLE = b'{"index":%d,"delta":{"role":"assistant","content":""}' + _OPEN
_LETTERS = {"reasoning": "t", "text": "c", "tool": "f"}


class _OpenAIFrames(ReplyFrames):
    """The common part of chat and completions."""

    _chunk_object: bytes
    _whole_object: bytes
    _text: tuple[bytes, bytes]
    """The bytes before and after the text in the choice of a chunk, with a placeholder for the choice number."""

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        self._identity = identity
        self._names = (orjson.dumps(identity.id), identity.created, orjson.dumps(identity.model))
        self._head = b"data: " + self._head_of(self._chunk_object)

    def _head_of(self, kind: bytes) -> bytes:
        reply_id, created, model = self._names
        return b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (reply_id, kind, created, model)

    def _chunk(
        self,
        kind: str,
        choice: int,
        fields: dict[str, Any],
        end: FinishReason | None,
        usage: UsageCounts | None,
        logprobs: dict[str, Any] | None = None,
    ) -> Event:
        row = {"index": choice, **fields, "logprobs": logprobs, "finish_reason": None}
        if end is not None:
            row |= {"finish_reason": end.reason, "stop_reason": end.stop}
        return Event(b"%b%b%b\n\n" % (self._head, orjson.dumps(row), _tail(usage)), kind)

    def _text_chunk(self, piece: Piece, usage: UsageCounts | None) -> Event:
        """A chunk with only text, the most common kind."""
        before, after = self._text
        parts = (self._head, before % piece.choice, orjson.dumps(piece.text), after, _finish(piece.end), _tail(usage))
        return Event(b"%b%b%b%b%b%b\n\n" % parts, "c" if piece.text else "o")

    def around(self, running: bool) -> tuple[bytes, bytes] | None:
        """The bytes around a text of the first choice."""
        if running:
            return None
        before, after = self._text
        return self._head + before % 0, after + _OPEN + b"]}\n\n"

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """The chunk with usage and no choices, and `[DONE]`."""
        if usage is None:
            return [_DONE]
        return [Event(b"%b%b\n\n" % (self._head, _tail(usage, self._identity.details)), "u"), _DONE]

    def failure(self) -> list[Event]:
        """An error object, and `[DONE]`."""
        return [Event(event(_PLANNED_ERROR), "o"), _DONE]

    def broken(self) -> Event:
        """A truncated chunk."""
        return Event(event(_BROKEN_JSON), "o")

    def _whole(self, choices: list[dict[str, Any]], usage: UsageCounts | None) -> bytes:
        # The brackets around the list are already in the head and the tail.
        rows = orjson.dumps(choices)[1:-1]
        return self._head_of(self._whole_object) + rows + _tail(usage, self._identity.details)


class ChatFrames(_OpenAIFrames):
    """/v1/chat/completions."""

    has_role = True
    _chunk_object = b"chat.completion.chunk"
    _whole_object = b"chat.completion"
    _text = (b'{"index":%d,"delta":{"content":', b"}")

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        return [Event(b"%b%b%b\n\n" % (self._head, _ROLE % choice, _tail(usage)), "r")]

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """A chunk of content, reasoning, or a tool call."""
        if piece.kind == "text" and piece.logprobs is None and not piece.role:
            return [self._text_chunk(piece, usage)]
        delta: dict[str, Any] = {"role": "assistant"} if piece.role else {}
        kind = _LETTERS[piece.kind] if piece.text else "o"
        if piece.kind == "tool":
            call: dict[str, Any] = {"index": piece.call_number}
            if piece.first and piece.call is not None:
                kind = "f"
                call |= {"id": piece.call.id, "type": "function", "function": {"name": piece.call.name}}
            call["function"] = {**call.get("function", {}), "arguments": piece.text}
            delta["tool_calls"] = [call]
        else:
            delta[self._identity.reasoning_field if piece.kind == "reasoning" else "content"] = piece.text
        logprobs = None if piece.logprobs is None else _chat_logprobs(piece.logprobs)
        return [self._chunk(kind, piece.choice, {"delta": delta}, piece.end, usage, logprobs)]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        delta = {"role": "assistant", "content": ""} if piece.role else {"content": ""}
        return [self._chunk("r" if piece.role else "o", 0, {"delta": delta}, None, usage)]

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> list[Event]:
        """A chunk with an empty delta."""
        return [self._chunk("o", choice, {"delta": {}}, end, usage)]

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        return self._whole([self._choice(i, choice) for i, choice in enumerate(choices)], usage)

    def _choice(self, index: int, choice: SaidChoice) -> dict[str, Any]:
        calls = [_whole_call(block) for block in choice.blocks if block.kind == "tool"]
        # As with OpenAI and vLLM: a message with only tool calls has null content.
        text = None if calls and not choice.text_of("text") else choice.text_of("text")
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self._identity.reasons:
            message[self._identity.reasoning_field] = choice.text_of("reasoning")
        if calls:
            message["tool_calls"] = calls
        logprobs = None if choice.logprobs is None else _chat_logprobs(choice.logprobs)
        return _choice(index, {"message": message}, choice.end, logprobs)


class CompletionFrames(_OpenAIFrames):
    """/v1/completions."""

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        super().__init__(identity, params)
        self._offsets: dict[int, int] = {}
        """For each choice, the offset of the next token in its text."""

    _chunk_object = b"text_completion"
    _whole_object = b"text_completion"
    _text = (b'{"index":%d,"text":', b"")

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        if piece.logprobs is None:
            return [self._text_chunk(piece, usage)]
        start = self._offsets.get(piece.choice, len(piece.text) - sum(len(token.text) for token in piece.logprobs))
        logprobs = _completion_logprobs(piece.logprobs, max(start, 0))
        self._offsets[piece.choice] = max(start, 0) + sum(len(token.text) for token in piece.logprobs)
        kind = "c" if piece.text else "o"
        return [self._chunk(kind, piece.choice, {"text": piece.text}, piece.end, usage, logprobs)]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [self._chunk("o", 0, {"text": ""}, None, usage)]

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> list[Event]:
        """A chunk with empty text."""
        return [self._chunk("o", choice, {"text": ""}, end, usage)]

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        rows = []
        for i, choice in enumerate(choices):
            text, logprobs = choice.text_of("text"), None
            if choice.logprobs is not None:
                start = len(text) - sum(len(token.text) for token in choice.logprobs)
                logprobs = _completion_logprobs(choice.logprobs, max(start, 0))
            rows.append(_choice(i, {"text": text}, choice.end, logprobs))
        return self._whole(rows, usage)


def _whole_call(block: SaidBlock) -> dict[str, Any]:
    assert block.call is not None
    function = {"name": block.call.name, "arguments": block.text}
    return {"id": block.call.id, "type": "function", "function": function}


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    rows = []
    for token in tokens:
        top = [_token_row(text, logprob) for text, logprob in token.top]
        rows.append({**_token_row(token.text, token.logprob), "top_logprobs": top})
    return {"content": rows}


def _token_row(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": [*text.encode()]}


def _completion_logprobs(tokens: Sequence[TokenLogprob], start: int) -> dict[str, Any]:
    """`start` is the offset of the first token in the text of the choice."""
    offsets = [*accumulate((len(token.text) for token in tokens[:-1]), initial=start)]
    return {
        "text_offset": offsets,
        "token_logprobs": [token.logprob for token in tokens],
        "tokens": [token.text for token in tokens],
        # The token itself is always included, as in vLLM.
        "top_logprobs": [dict(token.top) | {token.text: token.logprob} for token in tokens],
    }


def _choice(index: int, fields: dict[str, Any], end: FinishReason, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, **fields, "logprobs": logprobs, "finish_reason": end.reason, "stop_reason": end.stop}


def _finish(end: FinishReason | None) -> bytes:
    """The end of a choice in a chunk."""
    if end is None:
        return _OPEN
    reasons = (orjson.dumps(end.reason), orjson.dumps(end.stop))
    return b',"logprobs":null,"finish_reason":%b,"stop_reason":%b}' % reasons


def _tail(usage: UsageCounts | None, details: frozenset[str] = frozenset()) -> bytes:
    """The bytes after the last choice."""
    if usage is None:
        return b"]}"
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "completion_tokens": usage.output_tokens,
    }
    if details:
        counts |= usage_details(usage, details)
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    fields = {"usage": counts, **root_details(usage, details)} if details else {"usage": counts}
    return b"]," + orjson.dumps(fields)[1:]
