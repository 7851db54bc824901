"""The messages between two turns of a conversation: the answer, its tool calls, and the tool results.

Results are sent for exactly the calls of the answer. A planned answer has as many calls as the next turn has results. A
server's answer may differ, so a real history needs rules: the results are assigned to its calls in turn, starting again
from the first if there are more calls, and surplus results are not sent. If the answer called no tool, the results
become the user's text. If it called tools and the turn has no results, the turn's text is the result of the first call,
and the other results are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptset.answers import Answer
from promptset.chat import Message


def with_ids(answer: Answer, turn: int) -> Answer:
    """The answer to this turn, with an id for each call that has none: 9 letters and digits, as the strictest templates
    require, unique within a session."""
    if all(call.id for call in answer.tool_calls):
        return answer
    calls = [
        call if call.id else replace(call, id=f"c{turn % 1_000_000:06d}{number % 100:02d}")
        for number, call in enumerate(answer.tool_calls)
    ]
    return replace(answer, tool_calls=tuple(calls))


def turn_messages(content: str, results: Sequence[str], answer: Answer | None) -> list[Message]:
    """The messages of a turn that follows this answer (None: the turn begins a conversation)."""
    calls = () if answer is None else answer.tool_calls
    if not calls:
        return [{"role": "user", "content": "\n\n".join([*results, *([content] if content else [])])}]
    outputs = list(results) if results else [content, *[""] * (len(calls) - 1)]
    messages: list[Message] = [
        {"role": "tool", "tool_call_id": call.id, "content": outputs[number % len(outputs)]}
        for number, call in enumerate(calls)
    ]
    if results and content:
        messages.append({"role": "user", "content": content})
    return messages
