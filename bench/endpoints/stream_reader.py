"""Streams of OpenAI's dialect: from events to a reply. With several choices, the text is that of all choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.endpoints.answer_parts import CallParts, chat_answer, tokens_in
from bench.endpoints.choices import StreamChoices
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import DONE, Event, EventStream, cut_off
from bench.endpoints.failure import choices_of, ending_of, error_of, excerpt, is_chunk, is_limit, place_of
from bench.endpoints.interface import Problem, ReadOptions
from bench.endpoints.usage import usage_in, whole_number
from bench.records import TOKEN_KINDS
from promptset.answers import Answer

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint


class StreamReader(EventStream):
    """Reads choices; the endpoint knows where a choice has its text. A stream ends with `[DONE]`."""

    __slots__ = ("_called", "_endpoint", "_parts", "_places", "_reasoning_field", "_tokens")

    def __init__(self, endpoint: OpenAIEndpoint, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(endpoint.text_field), options)
        self._endpoint = endpoint
        self._called: dict[str, object] = {}  # the calls so far: place and id
        self._parts = CallParts()
        self._tokens: list[tuple[str, float]] = []  # with their log probabilities
        self._places = StreamChoices()
        self._reasoning_field = ""

    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        plain_text, places = self._endpoint.plain_text, self._places
        plain: tuple[bytes, str] | None = None
        places.go_on(first, len(events))
        for number, event in enumerate(decoded):
            if self._done and event is not None and self._unexpected is None:
                self._unexpected = f"event {first + number} comes after [DONE]: {excerpt(events[number])}"
            if event is None:
                self._done = True
                self._kinds.append("o")
            elif (text := plain_text(event)) is not None:
                choice = event["choices"][0]
                if self._answered and choice.get("logprobs"):
                    self._tokens += tokens_in(choice)  # Such an event resembles no other: do not learn from it.
                else:
                    plain = events[number], text
                places.plain(choice)
                self._kinds.append("c")
                self._running.append(None)
                self._measure(text)
                if self._keep:
                    self._pieces.append(text)
            else:
                self._read_other(event)
                self._judge(event, first + number, events[number])
        if plain is not None:
            self._template.learn(*plain)

    def _read_other(self, event: Mapping[str, Any]) -> None:
        """An event that is more than a piece of text."""
        choices = choices_of(event)
        self._places.beside(choices)
        kind, piece, own = self._kind_and_texts(choices)
        if (usage := usage_in(event, choices)) is not None:
            self._usage = usage
            if kind == "o" and not event.get("choices"):
                kind = "u"
            self._told = len(self._running) + (kind in TOKEN_KINDS or kind == "n")
        self._hear(event)
        if own != piece and self._keep:
            self._own[len(self._pieces)] = own
        if kind in TOKEN_KINDS or kind == "n":
            self._add_text(kind, piece, None if usage is None else whole_number(usage.get("completion_tokens")))
        else:
            self._kinds.append("e" if kind == "o" and choices and choices[0] else kind)
        for number, choice in enumerate(choices):
            beside = f"{place_of(choice, number)}: " if len(choices) > 1 else ""
            for place, name in self._endpoint.calls_in(choice):
                self._count_call(f"{beside}{place!r}", name)
        if self._answered and choices:
            self._keep_parts(choices[0])

    def _kind_and_texts(self, choices: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
        """The chunk kind, for several choices that of the first with text; the text of all choices; and the part of the text
        that is of this kind."""
        if len(choices) < 2:
            return self._endpoint.kind_and_texts(choices[0] if choices else {})
        read = [self._endpoint.kind_and_texts(choice) for choice in choices]
        bearing = [choice for choice in read if choice[0] in TOKEN_KINDS or choice[0] == "n"]
        if not bearing:
            return read[0]
        first = bearing[0][0]
        return first, "".join(text for _, text, _ in bearing), "".join(own for kind, _, own in bearing if kind == first)

    def _count_call(self, place: str, name: object) -> None:
        """Count a call as new if its place is new, or if its id differs: not all servers count places."""
        known = self._called.get(place)
        if place not in self._called or (name and known and name != known):
            self._calls += 1
        if place not in self._called or name:
            self._called[place] = name

    def _keep_parts(self, choice: Mapping[str, Any]) -> None:
        self._tokens += tokens_in(choice)
        self._endpoint.add_calls(choice, self._parts)
        if not self._reasoning_field:
            self._reasoning_field = self._endpoint.reasoning_field(choice)

    def _answer(self, content: str, reasoning: str) -> Answer:
        return chat_answer(content, self._parts, reasoning, self._reasoning_field, self._tokens)

    @property
    def _tool_calls(self) -> int | None:
        return self._calls if self._endpoint.takes_messages else None

    def _judge(self, event: Mapping[str, Any], number: int, data: bytes) -> None:
        """Check whether an event reports a failure, ends the reply, or is not a chunk."""
        if (error := error_of(event)) is not None:
            self._fail(error)
            return
        if not is_chunk(event):
            if self._unexpected is None:
                self._unexpected = f"event {number} is not a chunk of a reply: {excerpt(data)}"
            return
        places, wrong = ending_of(event)
        if wrong is not None:
            self._fail(wrong)
        if places:
            self._finished = True
            reasons = [choice.get("finish_reason") for choice in choices_of(event)]
            self._reason = next(filter(None, reasons), None)
            self._limited = self._limited or any(map(is_limit, reasons))
            self._places.end(places)
            self._choices = self._places.count

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if not self._done and (not self._finished or unfinished.strip() not in (b"", DONE)):
            return cut_off(unfinished, "" if self._finished else " without [DONE] or a finish reason")
        asked, left = self._options.output_tokens_asked, self._places.never_ended
        if left is not None and (asked is None or (output_tokens or 0) < asked):
            return cut_off(b"", f" without a finish reason of choice {left}, which had begun")
        return self._ended_early("[DONE]", "finish reason", output_tokens)
