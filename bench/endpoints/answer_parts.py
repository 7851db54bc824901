"""Tool calls and reasoning of a reply, assembled for the next request of its conversation.

Only needed for replies that a later request continues (`ReadOptions.keep_answer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from promptset.answers import Answer, ToolCall

_MOST_LOGPROB = 1e6
"""No log probability is further from 0: servers write -9999 for minus infinity."""


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class CallParts:
    """Tool calls, which arrive in pieces that name their place."""

    __slots__ = ("_calls", "_open")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._open: dict[object, _Call] = {}

    def add(self, place: object, *, call_id: object = None, name: object = None, arguments: object = None) -> None:
        """Add a piece of the call at this place. A different id at the same place starts another call: not all servers
        count places."""
        call = self._open.get(place)
        named = call_id if isinstance(call_id, str) else ""
        if call is None or (named and call.id and named != call.id):
            call = self._open[place] = _Call()
            self._calls.append(call)
        if named:
            call.id = named
        if isinstance(name, str):
            call.name += name
        if arguments:
            call.arguments.append(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that can be answered: those with a name."""
        return tuple(ToolCall(call.id, call.name, "".join(call.arguments) or "{}") for call in self._calls if call.name)


def tokens_in(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tokens of a choice with their log probabilities, in the format of chat or of completions; empty if there are
    none."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    rows = logprobs.get("content")
    if isinstance(rows, list):
        return tokens_of_rows(rows)
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    return _sound(zip(tokens, values, strict=False)) if isinstance(tokens, list) and isinstance(values, list) else []


def tokens_of_rows(rows: object) -> list[tuple[str, float]]:
    """The tokens in a list of objects with `token` and `logprob`, the format of chat and Responses."""
    listed = rows if isinstance(rows, list) else []
    return _sound((row.get("token"), row.get("logprob")) for row in listed if isinstance(row, dict))


def _sound(pairs: Iterable[tuple[object, object]]) -> list[tuple[str, float]]:
    return [
        (token, float(value))
        for token, value in pairs
        if isinstance(token, str) and isinstance(value, int | float) and abs(value) < _MOST_LOGPROB
    ]


def chat_answer(
    content: str, calls: CallParts, reasoning: str, reasoning_field: str, tokens: Sequence[tuple[str, float]] = ()
) -> Answer:
    """An answer of chat completions. The reasoning keeps the field name that the server used; reasoning in parts is not
    returned."""
    return Answer(
        content=content,
        tool_calls=calls.calls(),
        reasoning={reasoning_field: reasoning} if reasoning and reasoning_field else {},
        tokens=tuple(tokens),
    )


def messages_answer(content: str, blocks: Sequence[Mapping[str, Any]]) -> Answer:
    """An answer of Messages, from its blocks; thinking is sent back unchanged, with its signature."""
    calls = CallParts()
    thinking = []
    for number, block in enumerate(blocks):
        if block.get("type") == "tool_use":
            calls.add(number, call_id=block.get("id"), name=block.get("name"), arguments=block.get("input"))
        elif block.get("type") in ("thinking", "redacted_thinking"):
            thinking.append(dict(block))
    return Answer(
        content=content, tool_calls=calls.calls(), reasoning={"thinking_blocks": thinking} if thinking else {}
    )


def responses_answer(
    content: str,
    items: Sequence[Mapping[str, Any]],
    response_id: object,
    streamed: Sequence[tuple[str, float]] = (),
) -> Answer:
    """An answer of Responses, from its output items; reasoning items are sent back unchanged except for their status.
    `streamed`: the tokens of the deltas, with their log probabilities; not every server repeats them in its items."""
    calls = CallParts()
    reasoning = []
    tokens = [*streamed]
    if not tokens:
        lists = [item.get("content") for item in items if item.get("type") == "message"]
        parts = [part for entries in lists if isinstance(entries, list) for part in entries]
        tokens = [token for part in parts if isinstance(part, dict) for token in tokens_of_rows(part.get("logprobs"))]
    for number, item in enumerate(items):
        if item.get("type") == "function_call":
            calls.add(number, call_id=item.get("call_id"), name=item.get("name"), arguments=item.get("arguments"))
        elif item.get("type") == "reasoning":
            reasoning.append({name: value for name, value in item.items() if name != "status" and value is not None})
    return Answer(
        content=content,
        tool_calls=calls.calls(),
        reasoning={"reasoning_items": reasoning} if reasoning else {},
        tokens=tuple(tokens),
        response_id=response_id if isinstance(response_id, str) and response_id else None,
    )
