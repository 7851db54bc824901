"""Messages that many requests carry, written as JSON once.

Each request of a conversation repeats all earlier messages. A context of 100,000 tokens is half a megabyte: encoding it
for every turn would cost the measuring loop milliseconds. So a message keeps its encoded bytes for each endpoint, and a
body is joined from them. turns.py makes sure that equal messages are one object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson


class KeptMessage(dict[str, object]):
    """An immutable chat message with its cached encodings, by format."""

    __slots__ = ("written",)

    def __init__(self, message: Mapping[str, object]) -> None:
        super().__init__(message)
        self.written: dict[str, bytes] = {}


class Keeper:
    """The messages of one session: a message that several of its requests carry is one shared object."""

    def __init__(self) -> None:
        self._by_text: dict[tuple[object, int], KeptMessage] = {}

    def kept(
        self, messages: Sequence[Mapping[str, Any]], before: Sequence[KeptMessage] = ()
    ) -> tuple[KeptMessage, ...]:
        """The messages of a request. `before`: the messages of an earlier request that may begin in the same way."""
        return tuple(
            before[at] if at < len(before) and before[at] == message else self._one(message)
            for at, message in enumerate(messages)
        )

    def _one(self, message: Mapping[str, object]) -> KeptMessage:
        # The texts of a session exist once, so two messages with the same text share the string object. A cached
        # message keeps its text alive, so no other text can have the same id meanwhile.
        key = (message.get("role"), id(message.get("content")))
        message_object = self._by_text.get(key)
        if message_object is None or message_object != message:
            message_object = self._by_text[key] = KeptMessage(message)
        return message_object


Write = Callable[[Sequence[Mapping[str, object]]], Sequence[object]]


def array_of(
    messages: Sequence[Mapping[str, object]],
    form: str,
    write: Write,
    together: Callable[[Mapping[str, object]], bool] = lambda message: False,
) -> Sequence[object] | orjson.Fragment:
    """The JSON array of the elements that `write` makes from messages, for `orjson.dumps`.

    `write` returns the elements for some messages. The elements of several are the elements of each, one after the
    other, except that consecutive messages which are `together` are written as one. A KeptMessage keeps its elements as
    `form`.
    """
    if not any(isinstance(message, KeptMessage) for message in messages):
        return write(messages)
    pieces: list[bytes] = []
    at = 0
    while at < len(messages):
        end = at + 1
        while end < len(messages) and together(messages[at]) and together(messages[end]):
            end += 1
        if piece := _written(messages[at:end], form, write):
            pieces.append(piece)
        at = end
    return orjson.Fragment(b"".join((b"[", b",".join(pieces), b"]")))


def _written(some: Sequence[Mapping[str, object]], form: str, write: Write) -> bytes:
    """The elements of these messages, joined by commas. They are cached for a single message only."""
    single = some[0] if len(some) == 1 else None
    if isinstance(single, KeptMessage) and (piece := single.written.get(form)) is not None:
        return piece
    piece = orjson.dumps(write(some))[1:-1]
    if isinstance(single, KeptMessage):
        single.written[form] = piece
    return piece
