"""Which choices a stream has, and whether each has ended.

A reply may have several (`n`, or several prompts), and is complete once each that began has ended. Some servers count
events in `index`, or omit it in some events: so there are several choices only if one reappears after another, or two
share an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from bench.endpoints.failure import place_of


class StreamChoices:
    """Follows the events in order. Events that a template reads belong to the choice of the event that the template
    learned from."""

    __slots__ = ("_began", "_ended", "_next", "_of_template", "_place", "_several")

    def __init__(self) -> None:
        self._began: set[int] = set()
        self._ended: set[int] = set()
        self._several = False
        self._place: int | None = None  # of the previous event,
        self._next = 0  # whose number is one less than this
        self._of_template: int | None = None

    def go_on(self, first: int, events: int) -> None:
        """The next events, starting with number `first`: the template read any events in between."""
        if first > self._next and self._of_template is not None:
            self._visit(self._of_template)
        self._next = first + events

    def plain(self, choice: Mapping[str, Any]) -> None:
        """An event that contains only a text of this choice."""
        if choice.get("index", 0) == self._of_template == self._place:
            return  # The usual case.
        self._of_template = place = place_of(choice, 0)
        self._visit(place)

    def beside(self, choices: Sequence[Mapping[str, Any]]) -> None:
        """Any other event, with these choices."""
        if len(choices) > 1:
            self._several = True
        for number, choice in enumerate(choices):
            self._visit(place_of(choice, number))

    def end(self, places: Set[int]) -> None:
        """Mark these as ended."""
        self._ended |= places

    @property
    def count(self) -> int:
        """The choices that ended, and the first."""
        return len(self._ended | {0})

    @property
    def never_ended(self) -> int | None:
        """A choice that began and did not end, if there are several and any has ended."""
        left = self._began - self._ended
        return min(left) if self._several and self._ended and left else None

    def _visit(self, place: int) -> None:
        if place != self._place:
            self._several = self._several or place in self._began or bool(self._ended)
            self._began.add(place)
            self._place = place
