"""Answers of an assistant as values: what the next request of its conversation puts into the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptset.chat import Message


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. Its result names its `id` ("": it has none yet). `arguments` are JSON, as the model wrote them."""

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, planned or a server's own."""

    content: str = ""
    """Its text, without reasoning and calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Mapping[str, Any] = field(default_factory=dict)
    """What a message carries that gives the reasoning back, in the words of the API it came from; empty without any.
    `reasoning` or `reasoning_content` (a text), `thinking_blocks` of Messages, `reasoning_items` of Responses."""
    tokens: tuple[tuple[str, float], ...] = ()
    """Its tokens with their log probabilities, if the server gives them."""
    response_id: str | None = None
    """The name under which the server may have stored it."""

    def message(self, *, reasoning: bool = False) -> Message:
        """It as a message of a chat of OpenAI's shape, with its reasoning if `reasoning`."""
        said: Message = {"role": "assistant", "content": self.content}
        if reasoning:
            said |= self.reasoning
        if self.tool_calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        return said
