"""OpenAI's Responses API, `/v1/responses`, as vLLM serves it: the events and the body of a reply.

Rules (vLLM 0.32, `entrypoints/openai/responses`):
- Each event has its type twice, in `event:` and in the JSON, and a `sequence_number` that counts from 0. There is no
  `[DONE]`.
- `response.created` and `response.in_progress` come with the head, before the first token.
- An item of reasoning, text or a call opens with its first non-empty text; empty text has no event. A call opens with its
  name. Each item ends with its whole text, and the last event repeats all items.
- A reply truncated by `max_output_tokens` has the status `incomplete`. vLLM still calls the last event
  `response.completed`, OpenAI `response.incomplete`. `--finish separate`, which selects OpenAI's format for other replies,
  does so here too.
- An error in mid-stream is an `error` event followed by `response.failed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

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
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE
from mockserver.dialect.reply_details import root_metrics, root_timings
from mockserver.dialect.responses_request import parse_responses
from mockserver.dialect.sse import named_event

_PREFIXES = {"reasoning": "rs", "text": "msg", "tool": "fc"}
_LETTERS = {"reasoning": "t", "text": "c", "tool": "f"}
_DELTAS = {
    "reasoning": "response.reasoning_text.delta",
    "text": "response.output_text.delta",
    "tool": "response.function_call_arguments.delta",
}

Row = dict[str, Any]


class _Item:
    """An item of the output while it is being sent."""

    def __init__(self, reply_id: str, index: int, piece: Piece | SaidBlock) -> None:
        self.kind = piece.kind
        self.call = piece.call
        self.id = f"{_PREFIXES[piece.kind]}_{reply_id.removeprefix('resp_')}_{index}"
        self.where: Row = {"output_index": index, "item_id": self.id}
        if self.kind != "tool":
            self.where["content_index"] = 0
        self.text = ""

    def part(self, logprobs: bool = False) -> Row:
        """The only part of the item, with the text so far."""
        if self.kind == "reasoning":
            return {"text": self.text, "type": "reasoning_text"}
        return {"annotations": [], "text": self.text, "type": "output_text", "logprobs": [] if logprobs else None}

    def row(self, status: str) -> Row:
        """The item in its current state. It is empty while in progress."""
        parts = [self.part()] if status != "in_progress" and self.text else []
        if self.kind == "reasoning":
            row = {"id": self.id, "summary": [], "type": "reasoning", "content": parts or None}
            return {**row, "encrypted_content": None, "status": status}
        if self.kind == "text":
            row = {"id": self.id, "content": parts, "role": "assistant", "status": status, "type": "message"}
            return {**row, "phase": None}
        assert self.call is not None
        return {
            "arguments": self.text, "call_id": self.call.id, "name": self.call.name, "type": "function_call",
            "id": self.id, "status": status,
        }  # fmt: skip


class ResponsesFrames(ReplyFrames):
    """The events of one reply, which has one choice."""

    has_role = True
    opens_early = True
    # The opening always comes early and alone, and usage comes with the last event.
    ignores = frozenset({"role_early", "role_with_token", "usage_twice"})

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        self._identity = identity
        self._echo = params.echo
        self._keep = params.keep
        self._number = 0
        """The number of the next event."""
        self._block: int | None = None
        """The block of the open item, by its number in the choice."""
        self._item: _Item | None = None
        self._output: list[Row] = []
        """The finished items."""
        self._says_incomplete = False

    def _event(self, event_type: str, kind: str, **rest: object) -> Event:
        row = {**rest, "sequence_number": self._number, "type": event_type}
        self._number += 1
        # vLLM's order is the field order of OpenAI's classes, which is alphabetical.
        return Event(self._frame(event_type.encode(), orjson.dumps(dict(sorted(row.items())))), kind)

    def _frame(self, event_type: bytes, data: bytes) -> bytes:
        """An event as encoded on its stream."""
        return named_event(event_type, data)

    def _response(self, status: str, output: list[Row], usage: UsageCounts | None, **rest: object) -> Row:
        echo = self._echo
        early = ("parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p")
        late = ("presence_penalty", "frequency_penalty")
        vllms = ("kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages")
        return {
            "id": self._identity.id,
            "created_at": self._identity.created,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": echo.get("instructions"),
            "metadata": echo.get("metadata"),
            "model": self._identity.model,
            "object": "response",
            "output": output,
            **{name: echo.get(name) for name in early},
            "background": False,
            "max_output_tokens": echo.get("max_output_tokens"),
            "max_tool_calls": echo.get("max_tool_calls"),
            "previous_response_id": echo.get("previous_response_id"),
            "prompt": None,
            "reasoning": echo.get("reasoning"),
            "service_tier": echo.get("service_tier"),
            "status": status,
            "text": echo.get("text"),
            "top_logprobs": None,
            "truncation": echo.get("truncation"),
            "usage": None if usage is None else _usage(usage),
            "user": echo.get("user"),
            **root_metrics(usage, self._identity.details),
            **{name: echo.get(name) for name in late},
            **dict.fromkeys(vllms),
            **rest,
        }

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        """`response.created` and `response.in_progress`."""
        response = self._response("in_progress", [], None)
        return [self._event(f"response.{name}", "o", response=response) for name in ("created", "in_progress")]

    def _start(self, piece: Piece) -> list[Event]:
        if self._item is not None and self._block == piece.block:
            return []
        events = self._stop()
        self._block, self._item = piece.block, _Item(self._identity.id, len(self._output), piece)
        item = self._item
        kind = "f" if item.kind == "tool" else "o"
        events.append(
            self._event(
                "response.output_item.added", kind, item=item.row("in_progress"), output_index=len(self._output)
            )
        )
        if item.kind != "tool":
            events.append(self._event("response.content_part.added", "o", **item.where, part=item.part(logprobs=True)))
        return events

    def _delta(self, item: _Item, kind: str, text: str) -> Event:
        rest: Row = {"delta": text, **item.where}
        if item.kind == "text":
            rest["logprobs"] = []
        return self._event(_DELTAS[item.kind], kind, **rest)

    def _stop(self) -> list[Event]:
        """The events that end the open item."""
        item, self._item = self._item, None
        if item is None:
            return []
        if item.kind == "tool":
            assert item.call is not None
            name = "response.function_call_arguments.done"
            events = [self._event(name, "o", arguments=item.text, name=item.call.name, **item.where)]
        else:
            name = "response.reasoning_text.done" if item.kind == "reasoning" else "response.output_text.done"
            rest: Row = {"text": item.text, **item.where}
            if item.kind == "text":
                rest["logprobs"] = []
            events = [
                self._event(name, "o", **rest),
                self._event("response.content_part.done", "o", **item.where, part=item.part()),
            ]
        row = item.row("completed")
        events.append(self._event("response.output_item.done", "o", item=row, output_index=len(self._output)))
        self._output.append(row)
        return events

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """The deltas of an item, and the events that begin and end it."""
        events = []
        if piece.text or piece.last or piece.call is not None:
            events += self._start(piece)
        if piece.text:
            assert self._item is not None
            self._item.text += piece.text
            events.append(self._delta(self._item, _LETTERS[piece.kind], piece.text))
        if piece.last:
            events += self._stop()
        return events

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        events = self._start(piece)
        assert self._item is not None
        return [*events, self._delta(self._item, "o", "")]

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> list[Event]:
        """No separate event: the last event is named as OpenAI names it."""
        self._says_incomplete = end.reason == "length"
        return []

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        # A broken event may have replaced the item's last token.
        events = self._stop()
        response = self._response(_status(ends[0]), self._output, usage)
        if self._keep is not None:
            self._keep(response)
        name = "response.incomplete" if self._says_incomplete else "response.completed"
        beside = root_timings(usage, self._identity.details)
        return [*events, self._event(name, "o" if usage is None else "u", response=response, **beside)]

    def failure(self) -> list[Event]:
        error = {"code": "server_error", "message": PLANNED_FAILURE}
        event = self._event("error", "o", **error, param=None)
        response = self._response("failed", self._output, None, error=error)
        return [event, self._event("response.failed", "o", response=response)]

    def broken(self) -> Event:
        self._number += 1
        data = b'{"type":"response.output_text.delta","sequence_number":%d,"del' % (self._number - 1)
        return Event(self._frame(b"response.output_text.delta", data), "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        choice = choices[0]
        output: list[Row] = []
        for block in choice.blocks:
            if block.text or block.call is not None:
                item = _Item(self._identity.id, len(output), block)
                item.text = block.text
                output.append(item.row("completed"))
        response = self._response(_status(choice.end), output, usage)
        if self._keep is not None:
            self._keep(response)
        return orjson.dumps(response)


def _status(end: FinishReason) -> str:
    return "incomplete" if end.reason == "length" else "completed"


def _usage(usage: UsageCounts) -> Row:
    """vLLM's usage. It counts turns only if the server runs tools itself."""
    reasoning = usage.reasoning_tokens
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": 0 if usage.cached_tokens is None else usage.cached_tokens,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {
            "reasoning_tokens": 0 if reasoning is None else reasoning,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


RESPONSES = Endpoint(
    path="/v1/responses",
    id_prefix="resp_",
    parse=parse_responses,
    frames=ResponsesFrames,
    is_chat=True,
    parse_behind=parse_responses,
)
