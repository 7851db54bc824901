"""Streams of OpenAI's dialect: events to what the reply said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.endpoints.answer_parts import CallParts, chat_answer
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import DONE, Event, EventStream, cut_off, most_bytes
from bench.endpoints.failure import ending_of, error_of, excerpt, first_choice, is_chunk, places_of
from bench.endpoints.interface import Problem, ReadOptions
from bench.endpoints.usage import whole_number
from bench.records import TOKEN_KINDS
from promptset.answers import Answer

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint


class StreamReader(EventStream):
    """Reads choices: where the text stands in one is the endpoint's affair. A stream ends with `[DONE]`."""

    __slots__ = ("_called", "_ended", "_endpoint", "_parts", "_reasoning_field")

    def __init__(self, endpoint: OpenAIEndpoint, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(endpoint.text_field), options)
        self._endpoint = endpoint
        self._called: dict[str, object] = {}  # the calls until now: place and id
        self._parts = CallParts()
        self._ended = {0}  # the choices that came to their end, and the first
        self._reasoning_field = ""

    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        kinds, running, pieces = self._kinds, self._running, self._pieces if self._keep else None
        plain_text, kind_and_text = self._endpoint.plain_text, self._endpoint.kind_and_text
        plain: tuple[bytes, str] | None = None
        for number, event in enumerate(decoded):
            if self._done and event is not None and self._unexpected is None:
                self._unexpected = f"event {first + number} comes after [DONE]: {excerpt(events[number])}"
            if (text := plain_text(event)) is not None:
                plain = events[number], text
                kinds.append("c")
                running.append(None)
                self._most_bytes += most_bytes(text)
                if pieces is not None:
                    pieces.append(text)
                continue
            if event is None:
                self._done = True
                kinds.append("o")
                continue
            choice = first_choice(event)
            kind, piece = kind_and_text(choice)
            usage = event.get("usage")
            if isinstance(usage, dict):
                self._usage = usage
                if kind == "o" and not event.get("choices"):
                    kind = "u"
                self._told = len(running) + (kind in TOKEN_KINDS or kind == "n")
            self._hear(event)
            if kind in TOKEN_KINDS or kind == "n":
                tokens = whole_number(usage.get("completion_tokens")) if isinstance(usage, dict) else None
                self._add_text(kind, piece, tokens)
            else:
                kinds.append("e" if kind == "o" and choice else kind)
            for place, name in self._endpoint.calls_in(choice) if kind != "u" else ():
                self._count_call(repr(place), name)
            if self._answered and kind != "u":
                self._keep_parts(choice)
            self._judge(event, first + number, events[number])
        if plain is not None:
            self._template.learn(*plain)

    def _count_call(self, place: str, name: object) -> None:
        """A call is a new one where its place is, or where another id stands at its place: not all servers count places."""
        known = self._called.get(place)
        if place not in self._called or (name and known and name != known):
            self._calls += 1
        if place not in self._called or name:
            self._called[place] = name

    def _keep_parts(self, choice: Mapping[str, Any]) -> None:
        self._endpoint.add_calls(choice, self._parts)
        if not self._reasoning_field:
            self._reasoning_field = self._endpoint.reasoning_field(choice)

    def _answer(self, content: str, reasoning: str) -> Answer:
        return chat_answer(content, self._parts, reasoning, self._reasoning_field)

    @property
    def _tool_calls(self) -> int | None:
        return self._calls if self._endpoint.takes_messages else None

    def _judge(self, event: Mapping[str, Any], number: int, data: bytes) -> None:
        """Whether an event says that the reply failed, that it ended, or what no chunk says."""
        if (error := error_of(event)) is not None:
            self._fail(error)
            return
        if not is_chunk(event):
            if self._unexpected is None:
                self._unexpected = f"event {number} is no chunk of a reply: {excerpt(data)}"
            return
        ended, wrong = ending_of(event)
        if wrong is not None:
            self._fail(wrong)
        if ended:
            self._finished = True
            self._ended |= places_of(event)
            self._choices = max(self._choices, len(self._ended))

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if not self._done and (not self._finished or unfinished.strip() not in (b"", DONE)):
            return cut_off(unfinished, "" if self._finished else " without [DONE] or a finish reason")
        return self._ended_early("[DONE]", "finish reason", output_tokens)
