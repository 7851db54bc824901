"""What a shaped reply says: its texts, why it ends, and its JSON.

The JSON is made anew for each chunk, which costs more than the templates of `openai.Frames` and takes any shape; for
the ordinary shape both give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.dialect.openai import Ask, Shape
from mockserver.plans.plan import Plan
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class Script:
    """What a reply will say."""

    ask: Ask
    plan: Plan
    texts: list[str]
    """One a token, the first `plan.reasoning_tokens` of them reasoning; empty where a token has no text."""
    stop: str | None
    """The stop string that ended the text."""
    finish_apart: bool
    """Whether the finish reason has a chunk of its own."""
    reasons: bool
    """Whether this server's replies may have reasoning, so that usage tells of it."""
    frames: ShapedFrames
    input_count: TokenCount


@dataclass(frozen=True, slots=True)
class Counts:
    """The usage of a reply."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None = None
    """None for a reply that cannot reason."""

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
class End:
    """The finish reason, and the stop string where one ended the text."""

    reason: str
    stop: str | None


class ShapedFrames:
    """The JSON of one reply, chunk by chunk or whole."""

    def __init__(self, shape: Shape, reply_id: str, created: int, model: str, reasoning_field: str) -> None:
        self._shape = shape
        self._head = {"id": reply_id, "object": shape.chunk_object.decode(), "created": created, "model": model}
        self._whole_head = {**self._head, "object": shape.whole_object.decode()}
        self._reasoning_field = reasoning_field
        self.has_role = shape.role is not None

    def _chunk(self, choice: dict[str, Any], end: End | None, counts: Counts | None) -> bytes:
        row = {"index": 0, **choice, "logprobs": None, "finish_reason": None}
        if end is not None:
            row |= {"finish_reason": end.reason, "stop_reason": end.stop}
        return self._dump({**self._head, "choices": [row]}, counts)

    def role(self, counts: Counts | None) -> bytes:
        """The chunk that opens a stream of chat."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None, counts)

    def text(
        self, text: str, end: End | None, counts: Counts | None, *, reasoning: bool = False, role: bool = False
    ) -> bytes:
        """A chunk of text, which may be empty; with `role` it opens the stream besides."""
        if not self.has_role:
            return self._chunk({"text": text}, end, counts)
        delta = {"role": "assistant"} if role else {}
        delta[self._reasoning_field if reasoning else "content"] = text
        return self._chunk({"delta": delta}, end, counts)

    def finish(self, end: End, counts: Counts | None) -> bytes:
        """The chunk that has the finish reason and nothing else."""
        return self._chunk({"delta": {}} if self.has_role else {"text": ""}, end, counts)

    def usage(self, counts: Counts) -> bytes:
        """The chunk with usage and no choices."""
        return self._dump({**self._head, "choices": []}, counts)

    def whole(self, reasoning: str | None, text: str, end: End, counts: Counts | None) -> bytes:
        """The body of a reply that is not streamed."""
        choice: dict[str, Any] = {"text": text}
        if self.has_role:
            choice = {"message": {"role": "assistant", "content": text}}
            if reasoning is not None:
                choice["message"][self._reasoning_field] = reasoning
        tail = {"logprobs": None, "finish_reason": end.reason, "stop_reason": end.stop}
        return self._dump({**self._whole_head, "choices": [{"index": 0, **choice, **tail}]}, counts)

    @staticmethod
    def _dump(row: dict[str, Any], counts: Counts | None) -> bytes:
        return orjson.dumps(row if counts is None else {**row, "usage": counts.row()})
