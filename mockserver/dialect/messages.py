"""Anthropic's Messages API, `/v1/messages`, as vLLM serves it: the events and the body of a reply, and its errors.

Rules (vLLM 0.32, `entrypoints/anthropic`), with the error types of Anthropic's own API:
- Each event has its type twice, in `event:` and in the JSON. There is no `[DONE]`.
- `message_start` comes with the first token. It has the input tokens.
- A block of thinking or text opens with its first non-empty text; empty text has no event. A tool call opens with its name.
- A block of thinking ends with a signature. `message_delta` has the stop reason and usage; `message_stop` is last.
- An error in mid-stream is an `error` event, and nothing follows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect.access import require_key
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import (
    Event,
    FinishReason,
    Piece,
    ReplyFrames,
    ReplyIdentity,
    SaidBlock,
    SaidChoice,
    UsageCounts,
)
from mockserver.dialect.messages_request import parse_messages
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.sse import named_event

KEY_HEADER = "x-api-key"

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_STOP_REASONS = {"length": "max_tokens", "tool_calls": "tool_use"}
_OPENED = {"reasoning": {"type": "thinking", "thinking": ""}, "text": {"type": "text", "text": ""}}
_DELTAS = {
    "reasoning": ("t", "thinking_delta", "thinking"),
    "text": ("c", "text_delta", "text"),
    "tool": ("f", "input_json_delta", "partial_json"),
}


def error_body(status: int, message: str) -> bytes:
    """The error object: {"type": "error", "error": {type, message}}."""
    return orjson.dumps(_error(_ERROR_TYPES.get(status, "api_error"), message))


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def refused(refusal: Refusal) -> Refusal:
    """A refusal in Anthropic's format. A proxy's page stays unchanged."""
    if refusal.message is None:
        return refusal
    message = f"invalid {KEY_HEADER}" if refusal.status == 401 else refusal.message
    return Refusal(refusal.status, error_body(refusal.status, message), refusal.headers, message)


def require_either_key(request: Request, config: MockConfig) -> None:
    """Requires the key in `x-api-key`, where Anthropic's clients send it, or as a bearer token. Raises Refusal (401)."""
    require_key(request, config, KEY_HEADER)


def _event(kind: str, row: dict[str, Any]) -> Event:
    return Event(named_event(row["type"].encode(), orjson.dumps(row)), kind)


class MessagesFrames(ReplyFrames):
    """The events of one reply, which has one choice."""

    has_role = True
    ignores = frozenset({"role_with_token"})
    comment: Event | None = _event("o", {"type": "ping"})

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        self._identity = identity
        self._open: int | None = None
        """The number of the open block in the choice."""
        self._kind = "text"
        self._index = 0
        """The number of the open or next content block."""

    def _message(self, usage: UsageCounts | None, **rest: object) -> dict[str, Any]:
        row = {"id": self._identity.id, "type": "message", "role": "assistant", **rest}
        return row if usage is None else {**row, "usage": _usage(usage)}

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        """`message_start`."""
        message = self._message(usage, content=[], model=self._identity.model, stop_reason=None, stop_sequence=None)
        return [_event("r", {"type": "message_start", "message": message})]

    def _start(self, piece: Piece) -> list[Event]:
        if self._open == piece.block:
            return []
        before = self._stop()
        self._open, self._kind = piece.block, piece.kind
        block: dict[str, Any]
        if piece.call is None:
            block, kind = {**_OPENED[piece.kind]}, "o"
        else:
            block, kind = {"type": "tool_use", "id": piece.call.id, "name": piece.call.name, "input": {}}, "f"
        return [*before, _event(kind, {"type": "content_block_start", "content_block": block, "index": self._index})]

    def _delta(self, kind: str, name: str, field: str, text: str) -> Event:
        row = {"type": "content_block_delta", "delta": {"type": name, field: text}, "index": self._index}
        return _event(kind, row)

    def _stop(self) -> list[Event]:
        """The events that end the open block."""
        if self._open is None:
            return []
        events = []
        if self._kind == "reasoning":
            events.append(self._delta("o", "signature_delta", "signature", self._signature(self._index)))
        events.append(_event("o", {"type": "content_block_stop", "index": self._index}))
        self._open = None
        self._index += 1
        return events

    def _signature(self, index: int) -> str:
        return hashlib.blake2b(f"{self._identity.id} {index}".encode(), digest_size=16).hexdigest()

    def around(self, running: bool) -> tuple[bytes, bytes]:
        before, _, after = self._delta("c", "text_delta", "text", "").frame.partition(b'"text":""')
        return before + b'"text":', after

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """The deltas of a block, and the events that begin and end it."""
        events = []
        if piece.text or piece.last or piece.call is not None:
            events += self._start(piece)
        if piece.text:
            kind, name, field = _DELTAS[piece.kind]
            events.append(self._delta(kind, name, field, piece.text))
        if piece.last:
            events += self._stop()
        return events

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        _, name, field = _DELTAS[piece.kind]
        return [*self._start(piece), self._delta("o", name, field, "")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """`message_delta` with the stop reason and usage, and `message_stop`."""
        end = ends[0]
        delta: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(end), "stop_sequence": end.stop},
        }
        if usage is not None:
            delta["usage"] = _usage(usage)
        # A broken event may have replaced the block's last token, which would have closed it.
        return [*self._stop(), _event("o" if usage is None else "u", delta), _event("o", {"type": "message_stop"})]

    def failure(self) -> list[Event]:
        return [_event("o", _error("overloaded_error", "Overloaded (planned fault)."))]

    def broken(self) -> Event:
        data = b'{"type":"content_block_delta","delta":{"type":"text_delta","te'
        return Event(named_event(b"content_block_delta", data), "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        choice = choices[0]
        content = [self._block(index, block) for index, block in enumerate(choice.blocks) if block.text or block.call]
        rest: dict[str, Any] = {
            # Anthropic's form of an empty reply, as in vLLM.
            "content": content or [{"type": "text", "text": ""}],
            "model": self._identity.model,
            "stop_reason": _stop_reason(choice.end),
        }
        if choice.end.stop is not None:
            rest["stop_sequence"] = choice.end.stop
        return orjson.dumps(self._message(usage, **rest))

    def _block(self, index: int, block: SaidBlock) -> dict[str, Any]:
        if block.call is not None:
            return {"type": "tool_use", "id": block.call.id, "name": block.call.name, "input": _input(block.text)}
        if block.kind == "reasoning":
            return {"type": "thinking", "thinking": block.text, "signature": self._signature(index)}
        return {"type": "text", "text": block.text}

    def failure_body(self) -> bytes:
        return error_body(500, "Internal server error (planned fault).")


def _usage(usage: UsageCounts) -> dict[str, int]:
    """Cached tokens are reported separately from the other input tokens. Without a cache they are left out."""
    if usage.cached_tokens is None:
        return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }


def _stop_reason(end: FinishReason) -> str:
    if end.stop is not None:
        return "stop_sequence"
    return _STOP_REASONS.get(end.reason, "end_turn")


def _input(arguments: str) -> object:
    """The arguments of a call. A call truncated by `max_tokens` has none."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {}


MESSAGES = Endpoint(
    path="/v1/messages",
    id_prefix="msg_",
    parse=parse_messages,
    frames=MessagesFrames,
    is_chat=True,
    require_key=require_either_key,
    refused=refused,
)
