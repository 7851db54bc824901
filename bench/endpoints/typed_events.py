"""Streams with typed events, used by Messages and Responses: no `[DONE]`, but a final event."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from bench.endpoints import decoding
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import DONE, Event, EventStream, cut_off
from bench.endpoints.failure import LONGEST_MESSAGE, error_of, excerpt
from bench.endpoints.interface import ParsedReply, Problem, ReadOptions
from bench.endpoints.usage import whole_number


class TypedStream(EventStream):
    """Reads events by their type, which is in the data or else in the `event:` line before it. Unknown types are
    ignored: both APIs add new ones.

    A stream ends with its final event. A `[DONE]` after it, which some proxies send, is ignored.
    """

    __slots__ = ("_refused",)

    end: ClassVar[str]
    """The final event of a stream, for messages."""
    text_type: ClassVar[str]
    """The type of an event that is only a piece of the answer's text."""

    def __init__(self, template: ContentTemplate, options: ReadOptions) -> None:
        super().__init__(template, options)
        self._refused: int | None = None

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reply = super().close(unfinished)
        return reply if self._refused is None else replace(reply, refused=self._refused)

    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        plain: tuple[bytes, str] | None = None
        for number, event in enumerate(decoded):
            if event is None:
                self._kinds.append("o")
                continue
            kind = event.get("type")
            if not isinstance(kind, str):
                kind = self._named(first + number)
            if self._done and self._unexpected is None and kind != "ping":
                self._unexpected = f"event {first + number} comes after {self.end}: {excerpt(events[number])}"
            if kind == self.text_type and (text := self._plain_text(event)) is not None and not self._done:
                if self._answered and event.get("logprobs"):
                    self._keep_tokens(event)  # Such an event resembles no other: do not learn from it.
                else:
                    plain = events[number], text
                self._add_text("c", text)
                continue
            before = len(self._kinds)
            if kind is not None:
                self._take(kind, event)
            if len(self._kinds) == before:
                self._kinds.append("o")
            self._judge(kind, event, first + number, events[number])
        if plain is not None:
            self._template.learn(*plain)

    def _named(self, number: int) -> str | None:
        """The name that an `event:` line gives an event."""
        for of, line in self._lines:
            if of == number and line.startswith(b"event:"):
                return line[6:].strip().decode("utf-8", "replace")
        return None

    @abstractmethod
    def _plain_text(self, event: Event) -> str | None:
        """The text of an event of `text_type`. Returns None if it has no text, or other content too."""

    def _keep_tokens(self, event: Event) -> None:
        """Keep the log probabilities of a text event; does nothing for an API without them."""

    @abstractmethod
    def _take(self, kind: str, event: Event) -> None:
        """Read an event of this type. Adds at most one kind; if none is added, the event is an `o`."""

    def _take_item(self, item: object) -> None:
        """An output item that begins: a tool call has its name, and often no arguments yet."""
        if not isinstance(item, dict) or not is_call(item):
            return
        self._calls += 1
        arguments = "".join(text_of(item.get(field)) for field in ("arguments", "input"))
        if name := text_of(item.get("name")) + arguments:
            self._add_text("f" if arguments else "n", name)

    def _judge(self, kind: str | None, event: Event, number: int, data: bytes) -> None:
        """Check whether an event reports a failure, or cannot belong to this API."""
        status = whole_number(event.get("status")) if kind == "error" and number == 0 else None
        if status is not None and status >= 400:
            self._refused = status
        if kind == "error" or event.get("error"):
            self._fail(words(event))
        elif kind is None:
            if (error := error_of(event)) is not None:
                self._fail(error)
            elif self._unexpected is None:
                self._unexpected = f"event {number} is not an event of a reply: it has no type: {excerpt(data)}"

    def _words_of(self, event: bytes) -> str:
        try:
            document = decoding.loads(event)
        except orjson.JSONDecodeError:
            return excerpt(event)
        return words(document) if isinstance(document, dict) else excerpt(event)

    def _end(self, kind: str) -> None:
        """The final event, of this kind: nothing comes after it."""
        self._done = True
        self._kinds.append(kind)

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if not self._done:
            return cut_off(b"" if unfinished.strip() == DONE else unfinished, f" without {self.end}")
        return None


def type_of(message: bytes) -> str:
    """The type of a WebSocket message; "error" for an error without a type, as gateways send it; "" for anything else."""
    try:
        event = decoding.loads(message)
    except orjson.JSONDecodeError:
        return ""
    kind = event.get("type") if isinstance(event, dict) else ""
    if kind is None and error_of(event) is not None:
        return "error"
    return kind if isinstance(kind, str) else ""


def is_object(message: bytes) -> bool:
    """Whether a WebSocket message is a JSON object, as every event is."""
    try:
        return isinstance(decoding.loads(message), dict)
    except orjson.JSONDecodeError:
        return False


def may_be_last(data: bytes, last: re.Pattern[bytes]) -> bool:
    """Whether these bytes of WebSocket messages may hold the last message of a reply (its type matches `last`) or an error
    without a type: a cheap check."""
    return last.search(data) is not None or b'"response.' not in data


def words(event: Mapping[str, Any]) -> str:
    """The error message of an event or a reply: the kind of the error, if any, and its text."""
    response = event.get("response")
    for holder in (event, response if isinstance(response, dict) else {}):
        error = holder.get("error")
        if isinstance(error, str):
            return error[:LONGEST_MESSAGE]
        if isinstance(error, dict):
            return _sentence(error)
    if isinstance(event.get("message"), str):
        return _sentence(event)
    if isinstance(response, dict) and isinstance(response.get("status"), str):
        return f"the reply ended with status {response['status'][:100]!r}"
    message = error_of(event)
    return message if message is not None else orjson.dumps(dict(event)).decode()[:LONGEST_MESSAGE]


def _sentence(error: Mapping[str, Any]) -> str:
    message = error.get("message")
    if not isinstance(message, str) or not message:
        return orjson.dumps(dict(error)).decode()[:LONGEST_MESSAGE]
    kinds = (error.get("type"), error.get("code"))
    kind = next((kind for kind in kinds if isinstance(kind, str) and kind not in ("", "error")), None)
    return (message if kind is None else f"{kind}: {message}")[:LONGEST_MESSAGE]


def is_call(item: Mapping[str, Any]) -> bool:
    """Whether an output item of Responses or Realtime is a tool call."""
    return str(item.get("type")).endswith("_call")


def text_of(value: object) -> str:
    """A text unchanged; arguments that a server sends as an object, as JSON; empty otherwise."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, dict) and value else ""


def sum_of(values: Sequence[object]) -> object:
    """The sum of the given numbers. Returns the first value that is not a number, for the usage checks, or None if
    there are no values."""
    known = [value for value in values if value is not None]
    for value in known:
        if whole_number(value) is None:
            return value
    numbers = [number for value in known if (number := whole_number(value)) is not None]
    return sum(numbers) if numbers else None
