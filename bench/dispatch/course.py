"""Which turns of a session are due, and when: a pure account of one session.

A turn is due when all turns that it comes after have ended and its pause is over; the pause begins with the last of these
ends. A turn that comes after none is due when its pause is over, which begins with the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Due = tuple[int, int]
"""The number of a turn, and the instant at which it is due."""


class Course:
    """Told which turns have ended, it says which others are due. Each turn is named once."""

    def __init__(
        self,
        after: Sequence[Sequence[int]],
        pauses_ns: Sequence[int],
        *,
        began_ns: int,
        ended_ns: Mapping[int, int],
    ) -> None:
        """`after`: of each turn, those that it comes after. `ended_ns`: when turns ended that are not sent."""
        self._after = after
        self._pauses_ns = pauses_ns
        self._began_ns = began_ns
        self._ended_ns = dict(ended_ns)
        self._children: dict[int, list[int]] = {}
        for turn, before in enumerate(after):
            for one in before:
                self._children.setdefault(one, []).append(turn)
        self.left = len(after) - len(ended_ns)
        """Turns that were not named yet."""

    def first(self) -> list[Due]:
        """The turns that are due whatever else happens."""
        return self._due(turn for turn in range(len(self._after)) if turn not in self._ended_ns)

    def ended(self, turn: int, end_ns: int) -> list[Due]:
        """A turn has ended: the turns that only waited for that."""
        self._ended_ns[turn] = end_ns
        return self._due(self.children(turn))

    def children(self, turn: int) -> Sequence[int]:
        """The turns that come after this one."""
        return self._children.get(turn, ())

    def _due(self, turns: Iterable[int]) -> list[Due]:
        found = []
        for turn in turns:
            ends = [self._ended_ns.get(before) for before in self._after[turn]]
            known = [end for end in ends if end is not None]
            if len(known) == len(ends):
                self.left -= 1
                found.append((turn, max(known, default=self._began_ns) + self._pauses_ns[turn]))
        return found
