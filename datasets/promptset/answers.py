"""Answers of an assistant as values: what the next request of a conversation adds to the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptset.chat import Message


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call. Its result refers to its `id` ("": not assigned yet). `arguments` are JSON, as the model wrote them."""

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, planned or received from a server."""

    content: str = ""
    """The text, without reasoning and calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Mapping[str, Any] = field(default_factory=dict)
    """The fields of a message that send the reasoning back, in the format of the source API; empty without reasoning.
    `reasoning` or `reasoning_content` (a text), `thinking_blocks` of Messages, `reasoning_items` of Responses."""
    tokens: tuple[tuple[str, float], ...] = ()
    """The tokens with their log probabilities, if the server returns them."""
    response_id: str | None = None
    """The id under which the server may have stored it."""

    def message(self, *, reasoning: bool = False) -> Message:
        """The answer as a message in OpenAI's chat format, with its reasoning if `reasoning`."""
        result: Message = {"role": "assistant", "content": self.content}
        if reasoning:
            result |= self.reasoning
        if self.tool_calls:
            result["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        return result
