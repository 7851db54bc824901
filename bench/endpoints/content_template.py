"""A shortcut past JSON: most events of a stream differ from the one before in their text alone.

An event that begins and ends as one that JSON has decoded before, and has between the two nothing that could end a JSON
string or escape in it, is the same object with another text. That costs a third of a JSON call, and nothing is guessed:
whatever does not fit to the letter is left to JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.native import core

_SAFE = re.compile(rb"[ !#-\[\]-~]+")
"""Printable ASCII without the quote and the backslash: a JSON string as it stands."""
_TEXT = rb"([ !#-\[\]-~]+)"
_NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,15})(?=[,}])")


class ContentTemplate:
    """What stands around the text of the events of one response. Knows nothing until it has `learned`.

    `field` is what stands before the text: `"content":"`. `counter` stands before a whole number that may be another in each
    event: `"sequence_number":`.
    """

    __slots__ = ("_after", "_before", "_counted", "_counter", "_field", "_parts")

    def __init__(self, field: bytes, counter: bytes | None = None) -> None:
        self._field = field
        self._before = self._after = b""
        self._counter = counter
        # Only of events with a counter: patterns of the parts before and after the text, and of the whole event.
        self._parts: tuple[bytes, bytes] | None = None
        self._counted: re.Pattern[bytes] | None = None

    @property
    def learned(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._before)

    def learn(self, event: bytes, text: str) -> None:
        """Take this event, which holds only this text, as the pattern for later events."""
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
        """The texts of the events from the first on, up to the first that does not fit."""
        if not self._before:
            return []
        if self._parts is not None:
            return self._counted_texts(*self._parts, events)
        if core is not None and isinstance(events, list):
            return core.texts(events, self._before, self._after)
        return self.texts_in_python(events)

    def texts_in_python(self, events: Sequence[bytes]) -> list[bytes]:
        """`texts` where no number counts, as the compiled core does it too."""
        before, after = self._before, self._after
        start, end, safe = len(before), -len(after), _SAFE.fullmatch
        found: list[bytes] = []
        for event in events:
            text = event[start:end]
            if not (event.startswith(before) and event.endswith(after) and safe(text)):
                break
            found.append(text)
        return found

    def _counted_texts(self, before: bytes, after: bytes, events: Sequence[bytes]) -> list[bytes]:
        # To compile takes as long as to decode a short reply, and no event of another reply, with another id, fits.
        assert self._counter is not None
        head, counter, rest = self._before.partition(self._counter)
        if not events or not events[0].startswith(head + counter) or rest.lstrip(b"0123456789") not in events[0]:
            return []
        if self._counted is None:
            self._counted = re.compile(before + _TEXT + after)
        found: list[bytes] = []
        for event in events:
            if (match := self._counted.fullmatch(event)) is None:
                break
            found.append(match[1])
        return found


def _with_number(part: bytes, counter: bytes) -> bytes | None:
    """A pattern for this part of an event, whose number may be another; None where what follows the counter is no number."""
    head, found, tail = part.partition(counter)
    if not found:
        return re.escape(part)
    number = _NUMBER.match(tail)
    if number is None:
        return None
    return re.escape(head + found) + rb"(?:0|[1-9][0-9]{0,15})" + re.escape(tail[number.end() :])
