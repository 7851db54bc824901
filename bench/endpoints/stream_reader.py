"""Streams of OpenAI's dialect: events to what the reply said.

While a response streams in, nothing here looks at its events one by one: `StreamReader` gets them in batches, and decodes
a batch in one JSON call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.interface import OtherLine, ParsedReply, ReadOptions
from bench.endpoints.whole_reply import error_of, excerpt, first_choice, output_tokens_of, whole_number
from bench.records import TOKEN_KINDS

if TYPE_CHECKING:
    from bench.endpoints.openai import OpenAIEndpoint

DONE = b"[DONE]"

LEARN_FROM = 4
"""Events of a response that JSON decodes before the others are compared with them."""


class StreamReader:
    """Decodes the events of one streamed response, batch by batch, and keeps what the reply needs of them.

    A batch costs one JSON call; the events themselves are not kept, so that a long reply takes little memory.
    """

    __slots__ = (
        "_count",
        "_done",
        "_endpoint",
        "_error",
        "_finished",
        "_keep",
        "_kinds",
        "_malformed",
        "_number",
        "_pieces",
        "_running",
        "_template",
        "_usage",
    )

    def __init__(self, endpoint: OpenAIEndpoint, options: ReadOptions) -> None:
        self._endpoint = endpoint
        self._count = options.count
        self._keep = options.keep_text or options.count is not None
        self._kinds: list[str] = []
        self._pieces: list[str] = []
        self._running: list[int | None] = []  # completion_tokens so far, where a chunk that bears text says it
        self._number = 0  # of events
        self._template = ContentTemplate(endpoint.text_field)
        self._usage: Mapping[str, Any] | None = None
        self._finished = self._done = False
        self._error: str | None = None
        self._malformed: str | None = None

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """The data of the next events, in order, and the other lines that stood between them."""
        while events:
            plain = self._template.texts(events) if self._malformed is None else []
            if plain:
                self._kinds.extend("c" * len(plain))
                self._running.extend([None] * len(plain))
                if self._keep:
                    self._pieces.extend([text.decode() for text in plain])
                self._number += len(plain)
                events = events[len(plain) :]
                continue
            # A few by JSON, to learn what the others look like; then those that do not look like it, all at once.
            batch = events[: LEARN_FROM if not self._template.learned else None]
            events = events[len(batch) :]
            self._decode(batch)

    def _decode(self, events: Sequence[bytes]) -> None:
        first, self._number = self._number, self._number + len(events)
        if self._malformed is not None:
            return
        decoded, self._malformed = _decode(events, first)
        kinds, running, pieces = self._kinds, self._running, self._pieces if self._keep else None
        plain_text, kind_and_text = self._endpoint.plain_text, self._endpoint.kind_and_text
        plain: tuple[bytes, str] | None = None
        for number, event in enumerate(decoded):
            if (text := plain_text(event)) is not None:
                plain = events[number], text
                kinds.append("c")
                running.append(None)
                if pieces is not None:
                    pieces.append(text)
                continue
            if event is None:
                self._done = True
                kinds.append("o")
                continue
            choice = first_choice(event)
            kind, piece = kind_and_text(choice)
            if choice.get("finish_reason") is not None:
                self._finished = True
            usage = event.get("usage")
            if isinstance(usage, dict):
                self._usage = usage
                if kind == "o" and not event.get("choices"):
                    kind = "u"
            kinds.append(kind)
            if kind in TOKEN_KINDS:
                running.append(whole_number(usage.get("completion_tokens")) if isinstance(usage, dict) else None)
                if pieces is not None:
                    pieces.append(piece)
            elif self._error is None:
                self._error = error_of(event)
        if plain is not None:
            self._template.learn(*plain)

    def close(self) -> ParsedReply:
        """What the response said."""
        # What follows a malformed event is kept as chunks, unread.
        chunk_kind = "".join(self._kinds).ljust(self._number, "o")
        usage, count = self._usage, self._count
        text = "".join(self._pieces)
        kinds = (kind for kind in self._kinds if kind in TOKEN_KINDS)
        content = "".join(piece for kind, piece in zip(kinds, self._pieces, strict=False) if kind == "c")
        counted = count(text) if count is not None else None
        output_tokens, source = output_tokens_of(usage, counted, len(self._running))
        return ParsedReply(
            chunk_kind=chunk_kind,
            chunk_tokens=_tokens_of_chunks(chunk_kind, self._running, self._pieces, output_tokens, count),
            input_tokens=whole_number(usage.get("prompt_tokens")) if usage is not None else None,
            output_tokens=output_tokens,
            output_tokens_from=source,
            counted=counted,
            text=text,
            content=content,
            finished=self._finished,
            done=self._done,
            error=self._error,
            malformed=self._malformed,
        )


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


def _tokens_of_chunks(
    chunk_kind: str,
    running: Sequence[int | None],
    pieces: Sequence[str],
    output_tokens: int | None,
    count: Callable[[str], int] | None,
) -> tuple[int, ...] | None:
    """The tokens of each chunk: from usage on every chunk, else one each where that adds up, else counted, else unknown.

    `running` and `pieces` have one entry a token chunk (`pieces` is empty where nothing counts).
    """
    if running and None not in running:
        so_far = [tokens for tokens in running if tokens is not None]
        return _placed(chunk_kind, [after - before for before, after in pairwise([0, *so_far])])
    if output_tokens == len(running):
        return _placed(chunk_kind, [1] * len(running))
    if count is not None:
        counts = [count(piece) for piece in pieces]
        # Pieces tokenize alone as they do together only where the chunks end at token borders: trust the sum, not hope.
        if sum(counts) == output_tokens:
            return _placed(chunk_kind, counts)
    return None


def _placed(chunk_kind: str, tokens: Sequence[int]) -> tuple[int, ...]:
    """One entry a chunk: the tokens of the token chunks in order, and 0 for the others."""
    each = iter(tokens)
    return tuple([next(each) if kind in TOKEN_KINDS else 0 for kind in chunk_kind])
