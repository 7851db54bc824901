"""A shortcut past JSON: most events of a stream differ from the previous one only in their text.

If an event begins and ends like one that JSON has decoded before, and nothing in between could end a JSON string or
escape in it, it is the same object with another text. That costs a third of a JSON call, and nothing is guessed: any
event that does not match exactly is left to JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.native import core

_SAFE = re.compile(rb"[ !#-\[\]-~]+")
"""Printable ASCII without the quote and the backslash: needs no unescaping."""
_TEXT = rb"([ !#-\[\]-~]+)"
_NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,15})(?=[,}])")


class ContentTemplate:
    """The bytes around the text in the events of one response. Empty until it has `learned`.

    `field` precedes the text: `"content":"`. `counter` precedes a whole number that may differ in each event:
    `"sequence_number":`.
    """

    __slots__ = ("_after", "_before", "_counted", "_counter", "_field", "_parts")

    def __init__(self, field: bytes, counter: bytes | None = None) -> None:
        self._field = field
        self._before = self._after = b""
        self._counter = counter
        # Only for events with a counter: patterns of the parts before and after the text, and of the whole event.
        self._parts: tuple[bytes, bytes] | None = None
        self._counted: re.Pattern[bytes] | None = None

    @property
    def learned(self) -> bool:
        """Whether there is a pattern to compare with."""
        return bool(self._before)

    def learn(self, event: bytes, text: str) -> None:
        """Use this event, which holds only this text, as the pattern for later events."""
        field = self._field
        start = event.find(field) + len(field)
        raw = text.encode()
        if event.count(field) == 1 and event.startswith(raw + b'"', start) and _SAFE.fullmatch(raw):
            self._before, self._after = event[:start], event[start + len(raw) :]
            self._parts = self._counted = None
            if self._counter is not None and event.count(self._counter) == 1:
                before, after = (_with_number(part, self._counter) for part in (self._before, self._after))
                self._parts = None if before is None or after is None else (before, after)

    def texts(self, events: Sequence[bytes]) -> list[bytes]:
        """The texts of the events, up to the first event that does not match."""
        if not self._before:
            return []
        if self._parts is not None:
            return self._counted_texts(*self._parts, events)
        if core is not None and isinstance(events, list):
            return core.texts(events, self._before, self._after)
        return self.texts_in_python(events)

    def texts_in_python(self, events: Sequence[bytes]) -> list[bytes]:
        """`texts` without a counter. The compiled core does the same."""
        before, after = self._before, self._after
        start, end, safe = len(before), -len(after), _SAFE.fullmatch
        texts: list[bytes] = []
        for event in events:
            text = event[start:end]
            if not (event.startswith(before) and event.endswith(after) and safe(text)):
                break
            texts.append(text)
        return texts

    def _counted_texts(self, before: bytes, after: bytes, events: Sequence[bytes]) -> list[bytes]:
        # Compiling takes as long as decoding a short reply, and events of another reply, with another id, never match.
        assert self._counter is not None
        head, counter, rest = self._before.partition(self._counter)
        if not events or not events[0].startswith(head + counter) or rest.lstrip(b"0123456789") not in events[0]:
            return []
        if self._counted is None:
            self._counted = re.compile(before + _TEXT + after)
        texts: list[bytes] = []
        for event in events:
            if (match := self._counted.fullmatch(event)) is None:
                break
            texts.append(match[1])
        return texts


def _with_number(part: bytes, counter: bytes) -> bytes | None:
    """A pattern for this part of an event, whose number may differ. Returns None if no number follows the counter."""
    head, separator, tail = part.partition(counter)
    if not separator:
        return re.escape(part)
    number = _NUMBER.match(tail)
    if number is None:
        return None
    return re.escape(head + separator) + rb"(?:0|[1-9][0-9]{0,15})" + re.escape(tail[number.end() :])
