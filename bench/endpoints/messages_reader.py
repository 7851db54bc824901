"""Replies of Anthropic's Messages, streamed and whole.

    message_start          the role, and the tokens of the prompt
    content_block_start    a text, thinking, or the name of a called tool
    content_block_delta    text_delta, thinking_delta, input_json_delta (signature_delta and citations bear no token)
    content_block_stop
    message_delta          why the reply ended, and all output tokens; for some servers the prompt's too
    message_stop           the last event
    ping, error            at any time

`input_tokens` excludes the prompt tokens read from the cache and written to it: the prompt is the sum of all three.
`output_tokens` includes thinking, even if the server hides its text or sends a summary:
`output_tokens_details.thinking_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.endpoints.answer_parts import messages_answer
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import Event
from bench.endpoints.failure import END_REASONS, is_limit
from bench.endpoints.interface import Problem, ReadOptions
from bench.endpoints.typed_events import TypedStream, sum_of, text_of
from promptset.answers import Answer

_TYPES = ("content_block_delta", "content_block_start", "content_block_stop", "message_start", "message_delta",
          "message_stop", "ping")  # fmt: skip
_DELTAS = {"text_delta": ("c", "text"), "thinking_delta": ("t", "thinking"), "input_json_delta": ("f", "partial_json")}
_BLOCKS = {"text": ("c", "text"), "thinking": ("t", "thinking")}
_STORED_BLOCKS = ("tool_use", "thinking", "redacted_thinking")
_KEPT_DELTAS = {"thinking_delta": ("thinking", "thinking"), "signature_delta": ("signature", "signature"),
                "input_json_delta": ("partial_json", "input")}  # fmt: skip
"""For each delta type, its field, and the field of the block to which it is appended."""
_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class MessagesReader(TypedStream):
    """Reads a stream of Messages."""

    __slots__ = ("_blocks", "_said")

    ordinary_lines = frozenset(f"event: {name}".encode() for name in _TYPES)
    end = "message_stop"
    text_type = "content_block_delta"

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(b'"text":"'), options)
        self._said: dict[str, Any] = {}  # usage: the latest value of each field
        self._blocks: dict[object, dict[str, Any]] = {}  # by index: calls and thinking, if the answer is kept

    def _plain_text(self, event: Event) -> str | None:
        delta = event.get("delta")
        if type(delta) is dict and delta.get("type") == "text_delta" and "error" not in event and "usage" not in event:
            text = delta.get("text")
            return text if type(text) is str and text else None
        return None

    def _take(self, kind: str, event: Event) -> None:
        if self._answered and kind in ("content_block_start", "content_block_delta"):
            self._keep_block(event)
        if kind == "content_block_delta":
            self._take_delta(event.get("delta"))
        elif kind == "content_block_start":
            self._take_block(event.get("content_block"))
        elif kind == "message_start":
            self._kinds.append("r")
            message = event.get("message")
            # The output tokens here are those so far, for example 1. They do not count the reply.
            self._take_usage(message.get("usage") if isinstance(message, dict) else None, without="output_tokens")
        elif kind == "message_delta":
            self._hear(event)
            if self._take_usage(event.get("usage")):
                self._kinds.append("u")
            self._take_reason(event.get("delta"))
        elif kind == "message_stop":
            self._hear(event)
            self._end("u" if self._take_usage(event.get("usage")) else "o")

    def _take_delta(self, delta: object) -> None:
        name, field = _DELTAS.get(str(delta.get("type")), (None, "")) if isinstance(delta, dict) else (None, "")
        if not isinstance(delta, dict) or name is None:
            return
        if text := text_of(delta.get(field)):
            self._add_text(name, text)
        elif name != "f":  # A tool's arguments begin with an empty piece.
            self._kinds.append("e")

    def _take_block(self, block: object) -> None:
        if not isinstance(block, dict):
            return
        kind = str(block.get("type"))
        if kind.endswith("tool_use"):
            self._calls += 1
            arguments = text_of(block.get("input"))
            if name := text_of(block.get("name")) + arguments:
                self._add_text("f" if arguments else "n", name)
        elif kind in _BLOCKS and (text := text_of(block.get(_BLOCKS[kind][1]))):
            self._add_text(_BLOCKS[kind][0], text)

    def _keep_block(self, event: Event) -> None:
        index, begun, delta = event.get("index"), event.get("content_block"), event.get("delta")
        if isinstance(begun, dict) and str(begun.get("type")) in _STORED_BLOCKS:
            self._blocks[repr(index)] = dict(begun)
        block = self._blocks.get(repr(index))
        name, field = _KEPT_DELTAS.get(str(delta.get("type")), ("", "")) if isinstance(delta, dict) else ("", "")
        if isinstance(delta, dict) and block is not None and name:
            text = block.get(field)
            block[field] = (text if isinstance(text, str) else "") + text_of(delta.get(name))

    def _answer(self, content: str, reasoning: str) -> Answer:
        return messages_answer(content, [*self._blocks.values()])

    def _take_usage(self, usage: object, without: str = "") -> bool:
        if not isinstance(usage, dict):
            return False
        # No prompt has 0 tokens: servers that send 0 count only the output here, and sent the prompt's tokens before.
        unknown = (without, *(() if sum_of([usage.get(name) for name in _INPUT]) else _INPUT))
        self._said |= {name: value for name, value in usage.items() if value is not None and name not in unknown}
        self._usage = usage_of(self._said)
        self._told = len(self._running)
        return True

    def _take_reason(self, delta: object) -> None:
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if reason is None:
            return
        self._finished, self._reason = True, reason
        self._limited = is_limit(reason)
        if (wrong := wrong_reason(reason)) is not None:
            self._fail(wrong)

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if (missing := super()._missing(unfinished, output_tokens)) is not None:
            return missing
        return self._ended_early("message_stop", "stop_reason", output_tokens)


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage of Messages under the field names of chat completions."""
    cached, made = usage.get("cache_read_input_tokens"), usage.get("output_tokens_details")
    thought = made.get("thinking_tokens") if isinstance(made, dict) else None
    return {
        "prompt_tokens": sum_of([usage.get(name) for name in _INPUT]),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": {} if cached is None else {"cached_tokens": cached},
        "completion_tokens_details": {} if thought is None else {"reasoning_tokens": thought},
    }


def wrong_reason(reason: object) -> str | None:
    """The problem of a stop reason that does not mean an end."""
    if isinstance(reason, str) and reason.lower() in END_REASONS:
        return None
    return f"the reply ended with stop_reason {str(reason)[:100]!r}"


def blocks_of(content: list[Any]) -> tuple[str, str, int]:
    """From the content of a whole reply: all its text, the text without reasoning and tool calls, and the number of
    calls."""
    text = answer = ""
    calls = 0
    for block in content:
        if not isinstance(block, dict):
            continue
        kind = str(block.get("type"))
        if kind.endswith("tool_use"):
            calls += 1
            text += text_of(block.get("name")) + text_of(block.get("input"))
        elif kind in _BLOCKS:
            piece = text_of(block.get(_BLOCKS[kind][1]))
            text += piece
            answer += piece if kind == "text" else ""
    return text, answer, calls
