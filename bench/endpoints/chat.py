"""Chat completions: messages in; content, reasoning and tool calls out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.endpoints.openai import OpenAIEndpoint
from promptset.samples import Sample


class ChatCompletions(OpenAIEndpoint):
    """`POST /v1/chat/completions`. Text stands in the `delta` of a choice, or in its `message`."""

    path = "/chat/completions"
    takes_messages = True
    text_field = b'"content":"'

    def prompt_fields(self, sample: Sample) -> dict[str, Any]:
        messages = sample.messages
        fields: dict[str, Any] = {
            "messages": messages if messages is not None else [{"role": "user", "content": sample.prompt}]
        }
        if sample.tools is not None:
            fields["tools"] = sample.tools
        return fields

    def plain_text(self, event: Mapping[str, Any] | None) -> str | None:
        try:
            choice = event["choices"][0]  # type: ignore[index]
            text = choice["delta"]["content"]
            if type(text) is str and text and "usage" not in event and choice["finish_reason"] is None:  # type: ignore[operator]
                return text
        except (KeyError, IndexError, TypeError):
            pass
        return None

    def kind_and_text(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return "o", ""
        content = delta.get("content")
        if isinstance(content, str) and content:
            return "c", content
        for name in ("reasoning", "reasoning_content"):
            reasoning = delta.get(name)
            if isinstance(reasoning, str) and reasoning:
                return "t", reasoning
        if arguments := _arguments(delta.get("tool_calls")):
            return "f", arguments
        return "r" if delta.get("role") and choice.get("finish_reason") is None else "o", ""

    def texts(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        message = choice.get("message")
        if not isinstance(message, dict):
            return "", ""
        parts = [message.get(name) for name in ("reasoning", "reasoning_content", "content")]
        content = parts[-1]
        return "".join(part for part in parts if isinstance(part, str)), content if isinstance(content, str) else ""


def _arguments(tool_calls: object) -> str:
    """The arguments of a delta's tool calls. A string by the dialect; some servers send the object itself."""
    if not isinstance(tool_calls, list):
        return ""
    functions = [call.get("function") for call in tool_calls if isinstance(call, dict)]
    arguments = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return "".join(a if isinstance(a, str) else orjson.dumps(a).decode() for a in arguments if a)
