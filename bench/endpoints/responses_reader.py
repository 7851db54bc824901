"""Replies of OpenAI's Responses, streamed and whole.

    response.created, response.in_progress     the reply begins
    response.output_item.added                 a message, reasoning, or the name of a called tool
    response.output_text.delta                 text; also of a refusal
    response.reasoning_text.delta              reasoning, or a summary of it
    response.function_call_arguments.delta     arguments of a tool
    ... .done                                  the content, once more
    response.completed | incomplete | failed   the last event, with the usage; or error

A reply that is incomplete because it reached the requested tokens counts as ended. vLLM calls such a reply completed,
with the status incomplete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.endpoints.answer_parts import responses_answer, tokens_of_rows
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import Event
from bench.endpoints.failure import is_limit, says_lost
from bench.endpoints.interface import Problem, ReadOptions
from bench.endpoints.typed_events import TypedStream, is_call, may_be_last, text_of, type_of, words
from bench.records import Outcome
from promptset.answers import Answer

_DELTAS = {
    "response.output_text.delta": "c",
    "response.refusal.delta": "c",
    "response.reasoning_text.delta": "t",
    "response.reasoning_summary_text.delta": "t",
    "response.reasoning.delta": "t",
    "response.reasoning_summary.delta": "t",
    "response.function_call_arguments.delta": "f",
    "response.custom_tool_call_input.delta": "f",
    "response.mcp_call_arguments.delta": "f",
    "response.code_interpreter_call_code.delta": "f",
}
_BEGINNINGS = ("response.created", "response.in_progress", "response.queued")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_LAST = re.compile(rb'"type"\s*:\s*"(?:error|response\.(?:completed|incomplete|failed|cancelled))"')
_ORDINARY = (*_DELTAS, *_BEGINNINGS, "response.completed", "response.output_item.added", "response.output_item.done",
             "response.content_part.added", "response.content_part.done", "response.output_text.done")  # fmt: skip
_GOOD_INCOMPLETE = ("max_output_tokens", "content_filter")
"""Reasons for an incomplete reply that has still ended: the requested limit, a filter."""
_BARE = frozenset({"type", "delta", "item_id", "output_index", "content_index", "sequence_number", "logprobs",
                   "obfuscation"})  # fmt: skip


class ResponsesReader(TypedStream):
    """Reads a stream of Responses."""

    __slots__ = ("_items", "_lost", "_response_id", "_tokens")

    ordinary_lines = frozenset(f"event: {name}".encode() for name in _ORDINARY)
    end = "response.completed"
    text_type = "response.output_text.delta"

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(b'"delta":"', counter=b'"sequence_number":'), options)
        self._items: dict[str, dict[str, Any]] = {}  # by place: output items, if the answer is kept
        self._tokens: list[tuple[str, float]] = []  # with their log probabilities
        self._response_id: object = None
        self._lost = False  # The response that this one continues is unknown.

    def _plain_text(self, event: Event) -> str | None:
        text = event.get("delta")
        return text if type(text) is str and text and event.keys() <= _BARE else None

    def _take(self, kind: str, event: Event) -> None:
        if self._answered:
            self._keep_item(kind, event)
        if kind in _DELTAS:
            if text := text_of(event.get("delta")):
                self._add_text(_DELTAS[kind], text)
            else:
                self._kinds.append("e")
        elif kind == "response.output_item.added":
            self._take_item(event.get("item"))
        elif kind in _ENDS:
            self._take_end(kind, event)

    def _keep_item(self, kind: str, event: Event) -> None:
        place, item, response = repr(event.get("output_index")), event.get("item"), event.get("response")
        if isinstance(item, dict):  # When it begins, and again when it is complete.
            self._items[place] = dict(item)
        elif kind == "response.function_call_arguments.delta" and place in self._items:
            self._items[place]["arguments"] = text_of(self._items[place].get("arguments")) + text_of(event.get("delta"))
        if isinstance(response, dict):
            self._response_id = response.get("id")
            output = response.get("output")
            if kind in _ENDS and isinstance(output, list) and output:
                self._items = {repr(at): entry for at, entry in enumerate(output) if isinstance(entry, dict)}

    def _answer(self, content: str, reasoning: str) -> Answer:
        return responses_answer(content, [*self._items.values()], self._response_id, self._tokens)

    def _keep_tokens(self, event: Event) -> None:
        self._tokens += tokens_of_rows(event.get("logprobs"))

    def _judge(self, kind: str | None, event: Event, number: int, data: bytes) -> None:
        if kind == "error":
            self._lost = self._lost or says_lost(event)
        super()._judge(kind, event, number, data)

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        problem = super()._problem(unfinished, output_tokens)
        if problem is not None and self._lost and problem.outcome is Outcome.STREAM_ERROR:
            return Problem(Outcome.LOST_RESPONSE, problem.message)
        return problem

    def _take_end(self, kind: str, event: Event) -> None:
        response = event.get("response")
        reply: Mapping[str, Any] = response if isinstance(response, dict) else {}
        self._hear(reply)
        self._hear(event)  # llama.cpp puts them next to the response.
        usage = reply.get("usage")
        if isinstance(usage, dict):
            self._usage = usage_of(usage)
            self._told = len(self._running)
        self._end("u" if isinstance(usage, dict) else "o")
        status = kind.removeprefix("response.")
        self._limited = is_limit(incomplete_reason(reply))
        if (wrong := wrong_end(reply, status)) is not None:
            self._fail(wrong)


def is_last(message: bytes) -> bool:
    """Whether a message of a WebSocket is the last one of its reply."""
    return may_end(message) and type_of(message) in (*_ENDS, "error")


def may_end(data: bytes) -> bool:
    """Whether these bytes of messages may hold the last one of a reply: a cheap check."""
    return may_be_last(data, _LAST)


def wrong_end(response: Mapping[str, Any], status: str) -> str | None:
    """The problem of an ended reply, by its status and the status of its last event, or None."""
    reply_status = response.get("status")
    statuses = {status, reply_status} if isinstance(reply_status, str) else {status}
    if response.get("error") or statuses & {"failed", "cancelled"}:
        return words(response) if response.get("error") else f"the reply ended with status {reply_status or status!r}"
    if "incomplete" in statuses:
        reason = incomplete_reason(response)
        if reason is not None and reason not in _GOOD_INCOMPLETE:
            return f"the reply is incomplete: {str(reason)[:100]}"
    elif statuses - {"completed"}:
        return f"the reply ended with status {str(reply_status)[:100]!r}"
    return None


def incomplete_reason(response: Mapping[str, Any]) -> object:
    """The stated reason why a reply is incomplete, or None."""
    details = response.get("incomplete_details")
    return details.get("reason") if isinstance(details, dict) else None


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage of Responses under the field names of chat completions."""
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }


def items_of(output: list[Any]) -> tuple[str, str, int]:
    """From the output of a whole reply: all its text, the text without reasoning and tool calls, and the number of
    calls."""
    text = answer = ""
    calls = 0
    for item in output:
        if not isinstance(item, dict):
            continue
        if is_call(item):
            calls += 1
            text += "".join(text_of(item.get(field)) for field in ("name", "arguments", "input"))
            continue
        for field in ("content", "summary"):
            parts = item.get(field)
            for part in parts if isinstance(parts, list) else []:
                if isinstance(part, dict):
                    piece = text_of(part.get("text")) or text_of(part.get("refusal"))
                    text += piece
                    answer += piece if item.get("type") == "message" else ""
    return text, answer, calls
