"""The content of a shaped reply: its texts, its finish reason, and its JSON.

The JSON is encoded for each chunk. That costs more than the templates of `openai.Frames` and allows any shape. For the
ordinary shape both give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.dialect.openai import Endpoint, RequestParams
from mockserver.plans.plan import Plan
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class ShapedContent:
    """Everything that a shaped reply will send."""

    params: RequestParams
    plan: Plan
    texts: list[str]
    """One text per token, empty if the token has none. The first `plan.reasoning_tokens` are reasoning."""
    stop: str | None
    """The stop string that ended the text."""
    separate_finish: bool
    """Whether the finish reason comes in its own chunk."""
    reasons: bool
    """Whether this server's replies can reason. Usage then counts reasoning tokens."""
    frames: ShapedFrames
    input_count: TokenCount


@dataclass(frozen=True, slots=True)
class UsageCounts:
    """The numbers of a usage object."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None = None
    """None if the reply cannot reason."""

    def row(self) -> dict[str, Any]:
        """vLLM's usage object."""
        row: dict[str, Any] = {
            "prompt_tokens": self.input_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "completion_tokens": self.output_tokens,
        }
        if self.reasoning_tokens is not None:
            row["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return row


@dataclass(frozen=True, slots=True)
class FinishReason:
    """Why a reply ended, and the stop string if one ended it."""

    reason: str
    stop: str | None


class ShapedFrames:
    """The JSON of one reply, in chunks or whole."""

    def __init__(self, endpoint: Endpoint, reply_id: str, created: int, model: str, reasoning_field: str) -> None:
        self._endpoint = endpoint
        self._head = {"id": reply_id, "object": endpoint.chunk_object.decode(), "created": created, "model": model}
        self._whole_head = {**self._head, "object": endpoint.whole_object.decode()}
        self._reasoning_field = reasoning_field
        self.has_role = endpoint.role is not None

    def _chunk(self, choice: dict[str, Any], end: FinishReason | None, counts: UsageCounts | None) -> bytes:
        row = {"index": 0, **choice, "logprobs": None, "finish_reason": None}
        if end is not None:
            row |= {"finish_reason": end.reason, "stop_reason": end.stop}
        return self._dump({**self._head, "choices": [row]}, counts)

    def role(self, counts: UsageCounts | None) -> bytes:
        """The chunk that opens a stream of chat."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None, counts)

    def text(
        self,
        text: str,
        end: FinishReason | None,
        counts: UsageCounts | None,
        *,
        reasoning: bool = False,
        role: bool = False,
    ) -> bytes:
        """A chunk of text, which may be empty. With `role` it also opens the stream."""
        if not self.has_role:
            return self._chunk({"text": text}, end, counts)
        delta = {"role": "assistant"} if role else {}
        delta[self._reasoning_field if reasoning else "content"] = text
        return self._chunk({"delta": delta}, end, counts)

    def finish(self, end: FinishReason, counts: UsageCounts | None) -> bytes:
        """The chunk with only the finish reason."""
        return self._chunk({"delta": {}} if self.has_role else {"text": ""}, end, counts)

    def usage(self, counts: UsageCounts) -> bytes:
        """The chunk with usage and no choices."""
        return self._dump({**self._head, "choices": []}, counts)

    def whole(self, reasoning: str | None, text: str, end: FinishReason, counts: UsageCounts | None) -> bytes:
        """The body of a reply that is not streamed."""
        choice: dict[str, Any] = {"text": text}
        if self.has_role:
            choice = {"message": {"role": "assistant", "content": text}}
            if reasoning is not None:
                choice["message"][self._reasoning_field] = reasoning
        tail = {"logprobs": None, "finish_reason": end.reason, "stop_reason": end.stop}
        return self._dump({**self._whole_head, "choices": [{"index": 0, **choice, **tail}]}, counts)

    @staticmethod
    def _dump(row: dict[str, Any], counts: UsageCounts | None) -> bytes:
        return orjson.dumps(row if counts is None else {**row, "usage": counts.row()})
