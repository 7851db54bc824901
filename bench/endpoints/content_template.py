"""A shortcut past JSON: most events of a stream differ from the one before in their text alone.

An event that begins and ends as one that JSON has decoded before, and has between the two nothing that could end a JSON
string or escape in it, is the same object with another text. That costs a third of a JSON call, and nothing is guessed:
whatever does not fit to the letter is left to JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SAFE = re.compile(rb"[ !#-\[\]-~]+")
"""Printable ASCII without the quote and the backslash: a JSON string as it stands."""


class ContentTemplate:
    """What stands around the text of the events of one response. Knows nothing until it has `learned`.

    `field` is what stands before the text: `"content":"`.
    """

    __slots__ = ("_after", "_before", "_field")

    def __init__(self, field: bytes) -> None:
        self._field = field
        self._before = self._after = b""

    @property
    def learned(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self._before)

    def learn(self, event: bytes, text: str) -> None:
        """Take this event, which is nothing but this text, as the pattern for those that follow."""
        field = self._field
        start = event.find(field) + len(field)
        raw = text.encode()
        if event.count(field) == 1 and event.startswith(raw + b'"', start) and _SAFE.fullmatch(raw):
            self._before, self._after = event[:start], event[start + len(raw) :]

    def texts(self, events: Sequence[bytes]) -> list[bytes]:
        """The texts of the events from the first on, up to the first that does not fit."""
        before, after = self._before, self._after
        if not before:
            return []
        start, end, safe = len(before), -len(after), _SAFE.fullmatch
        found: list[bytes] = []
        for event in events:
            text = event[start:end]
            if not (event.startswith(before) and event.endswith(after) and safe(text)):
                break
            found.append(text)
        return found
