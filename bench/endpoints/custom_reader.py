"""Reads replies of custom APIs: events by the paths of their definition, and bodies whose pieces are the text itself."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import decoding
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.definition import ApiDefinition, ReplyPaths
from bench.endpoints.event_stream import MOST_STRAY, Event, EventStream, cut_off
from bench.endpoints.failure import LONGEST_MESSAGE, NO_REASON, error_of, excerpt
from bench.endpoints.interface import OtherLine, ParsedReply, Problem, ReadOptions
from bench.endpoints.json_path import JsonPath, parse_path, parse_sum
from bench.endpoints.typed_events import sum_of
from bench.endpoints.usage import whole_number
from bench.endpoints.whole_reply import WholeText, parsed
from bench.records import Outcome
from promptset.answers import Answer


class Finder:
    """Finds the values that a definition names, in an event or in a whole reply."""

    def __init__(self, names: ReplyPaths, api: ApiDefinition) -> None:
        def path(name: str | None) -> JsonPath | None:
            return None if name is None else parse_path(name)

        self.names = names
        self.text, self.reasoning, self.finish = path(names.text), path(names.reasoning), path(names.finish)
        self._error = path(names.error)
        tokens = {
            "prompt_tokens": names.input_tokens,
            "completion_tokens": names.output_tokens,
            "cached_tokens": names.cached_tokens,
            "reasoning_tokens": names.reasoning_tokens,
        }
        self._tokens = {name: parse_sum(paths) for name, paths in tokens.items() if paths is not None}
        end, equals, value = (names.end or "").partition("=")
        self._end = parse_path(end) if names.end else None
        self._end_value = value if equals else None
        self._good, self._limit = api.good, api.limit

    @property
    def has_end(self) -> bool:
        """Whether a stream marks its end."""
        return self._end is not None or self.finish is not None

    def texts_in(self, document: Event) -> tuple[str, str]:
        text = "" if self.text is None else self.text.text_in(document)
        return text, "" if self.reasoning is None else self.reasoning.text_in(document)

    def error_in(self, document: Event) -> str | None:
        """The error in a document, or None."""
        if self._error is None:
            return None
        value = self._error.first(document)
        if not value:
            return None
        if value is True:
            return f"{self.names.error} is true"
        if isinstance(value, str):
            return value[:LONGEST_MESSAGE]
        return error_of({"error": value}) or orjson.dumps(value).decode()[:LONGEST_MESSAGE]

    def error_of_text(self, body: bytes) -> str | None:
        """The error in a body that should be text but is JSON, or None."""
        if self._error is None or not body.startswith(b"{"):
            return None
        try:
            document = decoding.loads(body)
        except orjson.JSONDecodeError:
            return None
        return self.error_in(document)

    def reason_in(self, document: Event) -> object:
        """Why it ended, or None. Some servers write "", "null" or false until then."""
        reason = None if self.finish is None else self.finish.first(document)
        return None if reason in NO_REASON or reason is False else reason

    def is_limit(self, reason: object) -> bool:
        return reason is not None and _as_written(reason) in self._limit

    def wrong(self, reason: object) -> str | None:
        """Why this end is not a success."""
        if reason is None or not self._good or _as_written(reason) in self._good:
            return None
        return f"the reply ended with {self.names.finish} {_as_written(reason)[:60]!r}"

    def is_end(self, document: Event) -> bool:
        if self._end is None:
            return False
        value = self._end.first(document)
        if self._end_value is None:
            return value is not None
        return value is not None and self._end_value in (value, orjson.dumps(value).decode())

    def usage_in(self, document: Event) -> dict[str, Any] | None:
        """Usage under the field names of chat completions; None if there is none."""
        counts = {name: sum_of([path.first(document) for path in paths]) for name, paths in self._tokens.items()}
        usage: dict[str, Any] = {
            name: counts[name] for name in ("prompt_tokens", "completion_tokens") if counts.get(name) is not None
        }
        if not usage:
            return None
        if counts.get("cached_tokens") is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": counts["cached_tokens"]}
        if counts.get("reasoning_tokens") is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": counts["reasoning_tokens"]}
        return usage


def _as_written(value: object) -> str:
    """A value as a definition writes it: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class CustomReader(EventStream):
    """Reads events that are JSON. Fields outside the definition are ignored."""

    __slots__ = ("_find",)

    def __init__(self, find: Finder, options: ReadOptions) -> None:
        # Events of such APIs differ in more than their texts: nothing is learned.
        super().__init__(ContentTemplate(b"\0"), options)
        self._find = find

    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        for number, event in enumerate(decoded):
            if event is None:
                # Proxies also send it after a broken stream: if the API marks its own end, it does not count.
                self._done = self._done or not self._find.has_end
                self._kinds.append("o")
            else:
                self._take(event, first + number, events[number])

    def _take(self, event: Event, number: int, data: bytes) -> None:
        find = self._find
        text, reasoning = find.texts_in(event)
        if self._done and (text or reasoning) and self._unexpected is None:
            self._unexpected = f"event {number} comes after the end of the reply: {excerpt(data)}"
        usage = find.usage_in(event)
        if usage is not None:
            if usage.get("prompt_tokens") == 0:
                del usage["prompt_tokens"]  # No prompt has 0 tokens, so this event does not count the prompt.
            self._usage = {**(self._usage or {}), **usage}
            self._told = len(self._running) + bool(text or reasoning)
        if text or reasoning:
            running = None if usage is None else whole_number(usage.get("completion_tokens"))
            self._add_text("c" if text else "t", reasoning + text, running)
        else:
            self._kinds.append("o" if usage is None else "u")
        if (error := find.error_in(event)) is not None:
            self._fail(error)
        reason = find.reason_in(event)
        if reason is not None:
            self._finished, self._reason = True, reason
            self._limited = find.is_limit(reason)
            if (wrong := find.wrong(reason)) is not None:
                self._fail(wrong)
        if find.is_end(event):
            self._done = True

    def _answer(self, content: str, reasoning: str) -> Answer:
        return Answer(content=content)

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        problem = super()._problem(unfinished, output_tokens)
        if problem is None or problem.outcome is not Outcome.NO_TOKENS:
            return problem
        names = " or ".join(filter(None, [self._find.names.text, self._find.names.reasoning]))
        return Problem(Outcome.NO_TOKENS, f"{problem.message}: no event has a text at {names}")

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if unfinished:
            return cut_off(unfinished, "")
        if self._find.has_end and not (self._done or self._finished):
            return cut_off(b"", f" without {self._find.names.end or self._find.names.finish}")
        return None


class RawReader(EventStream):
    """Reads a body whose pieces, as they arrive, are the text."""

    __slots__ = ("_begin", "_decoder", "_find")

    def __init__(self, options: ReadOptions, find: Finder | None = None) -> None:
        super().__init__(ContentTemplate(b"\0"), options)
        self._find = find
        self._begin = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """Pieces of the body. A piece may end inside a character, which then belongs to the next."""
        del other_lines
        for piece in events:
            self._begin += piece[: MOST_STRAY - len(self._begin)]
            if b"\0" in piece and self._malformed is None:
                self._malformed = f"the reply is not text: {excerpt(piece)}"
            if text := self._decoder.decode(piece):
                self._add_text("c", text)
            else:
                self._kinds.append("e")
        self._number += len(events)

    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        """Nothing is JSON."""

    def _answer(self, content: str, reasoning: str) -> Answer:
        return Answer(content=content)

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        if self._find is not None and (error := self._find.error_of_text(self._begin)) is not None:
            return Problem(Outcome.STREAM_ERROR, error)
        return super()._problem(unfinished, output_tokens)

    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        return None


def read_raw(body: bytes, options: ReadOptions, find: Finder | None = None) -> ParsedReply:
    """A whole body that is the text."""
    if find is not None and (error := find.error_of_text(body)) is not None:
        return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
    text = body.decode("utf-8", "replace")
    root: Mapping[str, Any] = {}
    whole = WholeText(
        text=text, content=text, calls=None, usage=None, root=root, end_field="end", reason=None, wrong=None
    )
    return parsed(whole, body, options)
