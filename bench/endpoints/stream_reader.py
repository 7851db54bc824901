"""Streams of OpenAI's dialect: events to what the reply said.

While a response streams in, nothing here looks at its events one by one: `StreamReader` gets them in batches, and decodes
a batch in one JSON call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.failure import ending_of, error_message, error_of, excerpt, first_choice, is_chunk, page_title
from bench.endpoints.interface import OtherLine, ParsedReply, Problem, ReadOptions
from bench.endpoints.usage import ReplyText, cached_tokens, token_counts, tokens_of_chunks, whole_number
from bench.records import TOKEN_KINDS, Outcome

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint

DONE = b"[DONE]"

_FAILED_EVENTS = (b"error", b"exception", b"fail", b"abort")
"""An `event:` whose name holds one of these is an error."""

MOST_STRAY = 16_384
"""Bytes kept of lines that are no part of an event stream."""

LEARN_FROM = 4
"""Events of a response that JSON decodes before the others are compared with them."""


class StreamReader:
    """Decodes the events of one streamed response, batch by batch, and keeps what the reply needs of them.

    A batch costs one JSON call; the events themselves are not kept, so that a long reply takes little memory.
    """

    __slots__ = (
        "_calls_tool", "_choices", "_count", "_done", "_endpoint", "_error", "_finished", "_keep", "_kinds", "_malformed",
        "_most_bytes", "_number", "_options", "_pieces", "_running", "_stray", "_template", "_timings",
        "_unexpected", "_usage",
    )  # fmt: skip

    def __init__(self, endpoint: OpenAIEndpoint, options: ReadOptions) -> None:
        self._endpoint = endpoint
        self._options = options
        self._count = options.count
        self._keep = options.keep_text or options.count is not None
        self._kinds: list[str] = []  # as in a record, and `e` for a chunk of text whose text is empty
        self._pieces: list[str] = []
        self._running: list[int | None] = []  # completion_tokens so far, where a chunk that bears text says it
        self._number = 0  # of events
        self._most_bytes = 0  # of text
        self._choices = 1
        self._template = ContentTemplate(endpoint.text_field)
        self._usage: Mapping[str, Any] | None = None
        self._timings: object = None
        self._finished = self._done = self._calls_tool = False
        self._error: str | None = None
        self._malformed: str | None = None  # an event that cannot be decoded: those after it are not read
        self._unexpected: str | None = None  # an event that no success has
        self._stray = b""  # lines that are no part of an event stream

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """The data of the next events, in order, and the other lines that stood between them."""
        if other_lines and (failed := self._read_lines(other_lines)):
            self._decode(events, failed)
            return
        while events:
            plain = self._template.texts(events) if self._malformed is None and not self._done else []
            if plain:
                self._kinds.extend("c" * len(plain))
                self._running.extend([None] * len(plain))
                self._most_bytes += len(b"".join(plain))  # Faster than to add their lengths.
                if self._keep:
                    self._pieces.extend([text.decode() for text in plain])
                self._number += len(plain)
                events = events[len(plain) :]
                continue
            # A few by JSON, to learn what the others look like; then those that do not look like it, all at once.
            batch = events[: LEARN_FROM if not self._template.learned else None]
            events = events[len(batch) :]
            self._decode(batch)

    def _read_lines(self, lines: Sequence[OtherLine]) -> frozenset[int]:
        """Look at lines that are neither data nor comments. Returns the numbers of the events that are called errors."""
        failed: set[int] = set()
        for number, line in lines:
            field, _, value = line.partition(b":")
            if field == b"event":
                if not any(word in value.lower() for word in _FAILED_EVENTS):
                    continue
                if number is not None:
                    failed.add(number)
                else:
                    self._fail(line.decode("utf-8", "replace"))
            elif field == b"error":
                self._fail(error_message(value.strip()) if value else "an error without words")
            elif len(self._stray) < MOST_STRAY:
                self._stray += line[:MOST_STRAY] + b"\n"
        return frozenset(failed)

    def _decode(self, events: Sequence[bytes], failed: frozenset[int] = frozenset()) -> None:
        """Read events by JSON. Those whose numbers are in `failed` are errors, whatever they hold."""
        first, self._number = self._number, self._number + len(events)
        for number in sorted(failed):
            self._fail(error_message(events[number - first]))
        if self._malformed is not None:
            return
        decoded, self._malformed = _decode(events, first)
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
                self._most_bytes += _most_bytes(text)
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
            if "timings" in event:
                self._timings = event["timings"]
            if kind in TOKEN_KINDS:
                running.append(whole_number(usage.get("completion_tokens")) if isinstance(usage, dict) else None)
                self._most_bytes += _most_bytes(piece)
                if pieces is not None:
                    pieces.append(piece)
            elif kind == "o" and choice:
                kind = "e"
                self._calls_tool |= self._endpoint.calls_tool(choice)
            kinds.append(kind)
            self._judge(event, first + number, events[number])
        if plain is not None:
            self._template.learn(*plain)

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
            index = whole_number(first_choice(event).get("index"))
            self._choices = max(self._choices, len(event["choices"]), 1 if index is None else index + 1)

    def _fail(self, words: str) -> None:
        if self._error is None:
            self._error = words

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        """What the response said. `unfinished` is what came of an event that did not end."""
        # What follows a malformed event is kept as chunks, unread.
        internal = "".join(self._kinds).ljust(self._number, "o")
        chunk_kind = internal.replace("e", "o")
        text = "".join(self._pieces)
        kinds = (kind for kind in self._kinds if kind in TOKEN_KINDS)
        content = "".join(piece for kind, piece in zip(kinds, self._pieces, strict=False) if kind == "c")
        counted = self._count(text) if self._count is not None else None
        tokens = token_counts(
            self._usage,
            ReplyText(
                asked=self._options.output_tokens_asked,
                most_bytes=self._most_bytes,
                token_chunks=len(self._running),
                chunks_without_text=internal.count("e"),
                choices=self._choices,
                tool_calls=self._calls_tool or "f" in chunk_kind,
                counted=counted,
            ),
        )
        return ParsedReply(
            chunk_kind=chunk_kind,
            chunk_tokens=tokens_of_chunks(internal, self._running, self._pieces, tokens.output_tokens, self._count),
            input_tokens=tokens.input_tokens,
            cached_tokens=cached_tokens(self._usage, self._timings),
            output_tokens=tokens.output_tokens,
            output_tokens_from=tokens.output_tokens_from,
            usage_contradiction=tokens.contradiction,
            counted=counted,
            text=text,
            content=content,
            complete=self._done,
            problem=self._problem(unfinished, tokens.output_tokens),
        )

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        """Why this reply is no success: what the server says, then what cannot be read, then what is missing."""
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
            return Problem(Outcome.MALFORMED, f"the stream holds what is no event: {excerpt(self._stray.strip())}")
        if self._unexpected is not None:
            return Problem(Outcome.MALFORMED, self._unexpected)
        last_words = unfinished.strip()
        if not self._done and (not self._finished or last_words not in (b"", DONE)):
            cut = f" in the middle of an event ({len(unfinished)} bytes of it came)" if unfinished else ""
            without = " without [DONE] or a finish reason" if not self._finished else ""
            return Problem(Outcome.TRUNCATED, f"the stream ended{cut}{without}")
        asked = self._options.output_tokens_asked
        if not self._finished and self._running and asked is not None and (output_tokens or 0) < asked:
            # Proxies send [DONE] behind a stream that broke, too: only what is complete may do without a reason.
            words = f"the stream ended with [DONE], without a finish reason and after {output_tokens} of {asked} tokens"
            return Problem(Outcome.TRUNCATED, words)
        if not self._running and not self._calls_tool and asked != 0:
            return Problem(Outcome.NO_TOKENS, "the stream came to its end, and no chunk of it has text")
        return None


def _error_in(text: bytes) -> str | None:
    """The words of an error object that stands where no event is; None where there is none."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return error_of(said) if isinstance(said, dict) else None


def _most_bytes(text: str) -> int:
    """The bytes of a text, or a few more: to encode it only for that would cost too much."""
    return len(text) if text.isascii() else 4 * len(text)


_MARK = "\x7f"
_BETWEEN = b',"\x7f",'


def _decode(events: Sequence[bytes], first: int) -> tuple[list[dict[str, Any] | None], str | None]:
    """All events as objects, `[DONE]` as None; and what is wrong with the first that is none, where decoding stops."""
    joined = _BETWEEN.join([b"null" if event == DONE else event for event in events])
    # The mark stands between two events and nowhere else, or each event is looked at alone. Where it then stands between any
    # two items, each item is one event: events that are broken, and good only when joined, would swallow a mark.
    if joined.count(_BETWEEN) == len(events) - 1:
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
    decoded: list[dict[str, Any] | None] = []
    for number, event in enumerate(events, first):
        if event == DONE:
            decoded.append(None)
            continue
        try:
            item = orjson.loads(event)
        except orjson.JSONDecodeError as e:
            return decoded, f"event {number} is not JSON ({e}): {excerpt(event)}"
        if not isinstance(item, dict):
            return decoded, f"event {number} is not a JSON object: {excerpt(event)}"
        decoded.append(item)
    return decoded, None
