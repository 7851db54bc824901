"""The code that every stream reader shares: batches of events, the lines between them, the text, and why a reply
failed.

While a response streams in, nothing here looks at its events one by one: a reader gets them in batches, and decodes a
batch in one JSON call. The events themselves are not kept, so that a long reply takes little memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import decoding
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.failure import error_message, error_of, excerpt, page_title
from bench.endpoints.interface import OtherLine, ParsedReply, Problem, ReadOptions
from bench.endpoints.server_words import server_words, workers_of
from bench.endpoints.usage import (
    ReplyText,
    cached_tokens,
    least_tokens,
    reasoning_tokens,
    says_each,
    token_counts,
    tokens_of_chunks,
)
from bench.records import TOKEN_KINDS, Outcome
from promptset.answers import Answer

DONE = b"[DONE]"

_FAILED_EVENTS = (b"error", b"exception", b"fail", b"abort")
"""An `event:` whose name contains one of these is an error."""

MOST_STRAY = 16_384
"""Bytes kept of lines that do not belong to an event stream."""

LEARN_FROM = 2
"""Events of a response that JSON decodes before the others are compared with them."""

Event = dict[str, Any]


class EventStream(ABC):
    """Reads the events of one streamed response, batch by batch. Subclasses interpret them.

    `usage` is kept under the field names of chat completions, whatever the API calls its fields.
    """

    __slots__ = (
        "_answered", "_ascii", "_calls", "_choices", "_count", "_done", "_error", "_finished", "_keep",
        "_kinds", "_limited", "_lines", "_malformed", "_metrics", "_most_bytes", "_number", "_nvext", "_options", "_own",
        "_pieces", "_reason", "_running", "_stray", "_template", "_timings", "_told", "_unexpected", "_usage",
    )  # fmt: skip

    ordinary_lines: frozenset[bytes] = frozenset()
    """Lines that accompany nearly every event and can be skipped."""

    def __init__(self, template: ContentTemplate, options: ReadOptions) -> None:
        self._options = options
        self._count = options.count
        self._keep = options.keep_answer or options.count is not None
        self._answered = options.keep_answer
        self._kinds: list[
            str
        ] = []  # as in a record; `e`: a text chunk whose text is empty; `n`: only the name of a tool
        self._pieces: list[str] = []
        self._own: dict[int, str] = {}  # for pieces with text of several kinds, the part of the chunk's own kind
        self._running: list[int | None] = []  # output tokens so far, if the text chunk states them
        self._number = 0  # of events
        self._most_bytes = 0  # upper bound of the text's bytes
        self._ascii = True  # whether the text is pure ASCII
        self._choices = 1
        self._calls = 0  # tool calls
        self._template = template
        self._lines: Sequence[OtherLine] = ()  # the batch's
        self._usage: Mapping[str, Any] | None = None
        self._told = 0  # token chunks that had come at the latest usage
        self._timings: object = None  # the server's own numbers: llama.cpp's,
        self._metrics: object = None  # vLLM's,
        self._nvext: object = None  # and Dynamo's
        self._finished = False  # The reply stated why it ended,
        self._reason: object = None  # that reason, for messages,
        self._limited = False  # whether it was the token limit,
        self._done = False  # and whether nothing more will come.
        self._error: str | None = None
        self._malformed: str | None = None  # an event that cannot be decoded: later ones are not read
        self._unexpected: str | None = None  # an event that no successful reply has
        self._stray = b""  # lines that do not belong to an event stream

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """Feed the data of the next events, in order, and the other lines between them."""
        self._lines = other_lines
        if other_lines and (failed := self._read_lines(other_lines)):
            self._decode(events, failed)
            return
        while events:
            plain = self._template.texts(events) if self._malformed is None and not self._done else []
            if plain:
                self._kinds.extend("c" * len(plain))
                self._running.extend([None] * len(plain))
                self._most_bytes += len(b"".join(plain))  # Faster than adding their lengths. They are ASCII.
                if self._keep:
                    self._pieces.extend([text.decode() for text in plain])
                self._number += len(plain)
                events = events[len(plain) :]
                continue
            # Decode a few as JSON, to learn what the others look like; then all that do not match, at once.
            batch = events[: LEARN_FROM if not self._template.learned else None]
            events = events[len(batch) :]
            self._decode(batch)

    def _read_lines(self, lines: Sequence[OtherLine]) -> frozenset[int]:
        """Read lines that are neither data nor comments. Returns the numbers of the events that are named errors."""
        failed: set[int] = set()
        ordinary = self.ordinary_lines
        for number, line in lines:
            if line in ordinary:
                continue
            field, _, value = line.partition(b":")
            if field == b"event":
                if not any(word in value.lower() for word in _FAILED_EVENTS):
                    continue
                if number is not None:
                    failed.add(number)
                else:
                    self._fail(line.decode("utf-8", "replace"))
            elif field == b"error":
                self._fail(error_message(value.strip()) if value else "an error without a message")
            elif len(self._stray) < MOST_STRAY:
                self._stray += line[:MOST_STRAY] + b"\n"
        return frozenset(failed)

    def _decode(self, events: Sequence[bytes], failed: frozenset[int] = frozenset()) -> None:
        """Decode events as JSON. Events whose numbers are in `failed` are errors, whatever their content."""
        first, self._number = self._number, self._number + len(events)
        for number in sorted(failed):
            self._fail(self._words_of(events[number - first]))
        if self._malformed is not None:
            return
        decoded, self._malformed = _decode(events, first)
        self._read(decoded, events, first)

    def _words_of(self, event: bytes) -> str:
        """The message of an event that is named an error."""
        return error_message(event)

    @abstractmethod
    def _read(self, decoded: Sequence[Event | None], events: Sequence[bytes], first: int) -> None:
        """Read decoded events: append one kind for each. `[DONE]` is None; `first` is the number of the first event."""

    @abstractmethod
    def _missing(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        """What an otherwise successful reply lacks. Returns None if it is complete."""

    def _add_text(self, kind: str, piece: str, running: int | None = None) -> None:
        """Add a text chunk. `running`: the output tokens up to here, if the chunk states them."""
        self._kinds.append(kind)
        self._running.append(running)
        self._measure(piece)
        if self._keep:
            self._pieces.append(piece)

    def _measure(self, piece: str) -> None:
        """Add an upper bound of a text's bytes."""
        self._most_bytes += most_bytes(piece)
        self._ascii = self._ascii and piece.isascii()

    def _hear(self, event: Mapping[str, Any]) -> None:
        """Keep the server's own numbers for the request, if the event has them."""
        if "timings" in event:
            self._timings = event["timings"]
        if "metrics" in event:
            self._metrics = event["metrics"]
        if "nvext" in event:
            self._nvext = event["nvext"]

    def _fail(self, words: str) -> None:
        if self._error is None:
            self._error = words

    @property
    def tokens_so_far(self) -> int:
        """Output tokens so far: the reply's own count, otherwise one per chunk with text."""
        running = self._running
        total = running[-1] if running else None
        return total or len(running)

    @property
    def first_token(self) -> int | None:
        return next((number for number, kind in enumerate(self._kinds) if kind in TOKEN_KINDS or kind == "n"), None)

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        """The parsed response. `unfinished`: the bytes of an incomplete event."""
        # Events after a malformed one are kept as chunks, unread.
        internal = "".join(self._kinds).ljust(self._number, "o")
        chunk_kind = internal.replace("e", "o").replace("n", "f")
        text = "".join(self._pieces)
        kinds = (kind for kind in chunk_kind if kind in TOKEN_KINDS)
        pieces = [*zip(kinds, self._pieces, strict=False)]

        def all_of(kind: str) -> str:
            return "".join(self._own.get(at, piece) for at, (of, piece) in enumerate(pieces) if of == kind)

        content = all_of("c")
        counted = self._count(text) if self._count is not None else None
        if says_each(self._running):
            # The first chunk's usage was repeated with the others, for these.
            self._running, self._told = [None] * len(self._running), 1
        tokens = token_counts(
            self._usage,
            ReplyText(
                asked=self._options.output_tokens_asked,
                most_bytes=self._most_bytes,
                token_chunks=len(self._running),
                chunks_behind_usage=len(self._running) - self._told,
                chunks_without_text=internal.count("e"),
                choices=self._choices,
                tool_calls=self._calls > 0 or "f" in chunk_kind,
                counted=counted,
                least_tokens=least_tokens(internal),
                limited=self._limited,
                is_ascii=self._ascii,
            ),
        )
        return ParsedReply(
            chunk_kind=chunk_kind,
            chunk_tokens=self._tokens_of_chunks(internal, tokens.output_tokens),
            input_tokens=tokens.input_tokens,
            cached_tokens=cached_tokens(self._usage, self._timings),
            output_tokens=tokens.output_tokens,
            output_tokens_from=tokens.output_tokens_from,
            reasoning_tokens=reasoning_tokens(self._usage),
            tool_calls=self._tool_calls,
            usage_contradiction=tokens.contradiction,
            output_tokens_doubt=tokens.doubt,
            counted=counted,
            text=text,
            content=content,
            server=server_words(self._metrics, self._timings),
            replica=workers_of(self._nvext),
            limited=self._limited,
            answer=self._answer(content, all_of("t")) if self._answered else None,
            complete=self._done,
            problem=self._problem(unfinished, tokens.output_tokens),
        )

    def _tokens_of_chunks(self, internal: str, output_tokens: int | None) -> tuple[int, ...] | None:
        counts = tokens_of_chunks(internal, self._running, self._pieces, output_tokens, self._count)
        hidden = reasoning_tokens(self._usage) if "t" not in internal else None
        if counts is None and hidden and output_tokens is not None and output_tokens > hidden:
            # Hidden reasoning is in no chunk.
            counts = tokens_of_chunks(internal, self._running, self._pieces, output_tokens - hidden, self._count)
        return counts

    @property
    def _tool_calls(self) -> int | None:
        return self._calls

    @abstractmethod
    def _answer(self, content: str, reasoning: str) -> Answer:
        """The reply as the next request repeats it: its text, its reasoning, and other kept parts."""

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        """Why this reply is not a success: a server error, then what cannot be read, then what is missing."""
        error = self._error if self._error is not None else _error_in(unfinished)
        if error is None and self._stray:
            error = _error_in(self._stray)
        if error is not None:
            return Problem(Outcome.STREAM_ERROR, error)
        if self._malformed is not None:
            return Problem(Outcome.MALFORMED, self._malformed)
        if self._stray:
            if (title := page_title(self._stray)) is not None:
                return Problem(Outcome.MALFORMED, f"the reply is an HTML page{title}, not a stream of events")
            return Problem(
                Outcome.MALFORMED, f"the stream has text that is not an event: {excerpt(self._stray.strip())}"
            )
        if self._unexpected is not None:
            return Problem(Outcome.MALFORMED, self._unexpected)
        if (missing := self._missing(unfinished, output_tokens)) is not None:
            return missing
        if not self._running and not self._calls and self._options.output_tokens_asked != 0:
            why = "" if self._reason is None else f" (finish reason {str(self._reason)[:60]!r})"
            return Problem(Outcome.NO_TOKENS, f"the stream ended, and none of its chunks has text{why}")
        return None

    def _ended_early(self, end: str, reason: str, output_tokens: int | None) -> Problem | None:
        """A stream that ended with `end` and no `reason`. Proxies also end broken streams like this, so it only counts
        as complete if all requested tokens came."""
        asked = self._options.output_tokens_asked
        if self._finished or not self._running or asked is None or (output_tokens or 0) >= asked:
            return None
        words = f"the stream ended with {end}, without a {reason} and after {output_tokens} of {asked} tokens"
        return Problem(Outcome.TRUNCATED, words)


def cut_off(unfinished: bytes, without: str) -> Problem:
    """A stream without its end. If blank lines are missing between events, that is the problem."""
    lines = unfinished.splitlines()
    if len(lines) > 1 and all(line.startswith(b"{") and line.endswith(b"}") for line in lines if line != DONE):
        return Problem(Outcome.MALFORMED, "no blank line ends an event: a server must send one after each")
    cut = f" in the middle of an event ({len(unfinished)} bytes of it came)" if unfinished else ""
    return Problem(Outcome.TRUNCATED, f"the stream ended{cut}{without}")


def most_bytes(text: str) -> int:
    """An upper bound of a text's bytes: encoding it would cost too much."""
    return len(text) if text.isascii() else 4 * len(text)


def _error_in(text: bytes) -> str | None:
    """The message of an error object outside any event, or None."""
    if not text:
        return None
    try:
        document = decoding.loads(text)
    except orjson.JSONDecodeError:
        return None
    return error_of(document) if isinstance(document, dict) else None


_MARK = "\x7f"
_BETWEEN = b',"\x7f",'


def _decode(events: Sequence[bytes], first: int) -> tuple[list[Event | None], str | None]:
    """All events as objects, `[DONE]` as None; and the problem of the first event that is not JSON, where decoding
    stops."""
    joined = _BETWEEN.join([b"null" if event == DONE else event for event in events])
    # If the mark occurs elsewhere too, events are decoded one by one. If it separates every two decoded items, each
    # item is one event: broken events that are only valid when joined would swallow a mark.
    deep = max(map(len, events), default=0) > decoding.SHORT and any(map(decoding.may_be_deep, events))
    if joined.count(_BETWEEN) == len(events) - 1 and not deep:
        try:
            items = orjson.loads(b"[" + joined + b"]")
        except orjson.JSONDecodeError:
            items = []
        whole, marks = items[::2], items[1::2]
        if (
            len(items) == 2 * len(events) - 1
            and marks.count(_MARK) == len(marks)
            and all(
                isinstance(item, dict) or (item is None and event == DONE)
                for item, event in zip(whole, events, strict=True)
            )
        ):
            return whole, None
    decoded: list[Event | None] = []
    for number, event in enumerate(events, first):
        if event == DONE or event.strip() == DONE:  # OpenAI's own client also accepts it with trailing blanks.
            decoded.append(None)
            continue
        try:
            item = decoding.loads(event)
        except orjson.JSONDecodeError as e:
            return decoded, f"event {number} is not JSON ({e}): {excerpt(event)}"
        if not isinstance(item, dict):
            return decoded, f"event {number} is not a JSON object: {excerpt(event)}"
        decoded.append(item)
    return decoded, None
