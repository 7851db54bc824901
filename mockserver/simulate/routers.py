"""Routers choose the replica for each request. A router is a class with `choose`; to add one, add a line to `ROUTERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

MOST_AHEAD = 8
"""A prefix-aware router leaves the replica with the prefix if that has this many more requests in flight than the least
loaded."""


class Router(Protocol):
    """Keeps its own state between requests."""

    def choose(self, in_flight: Sequence[int], group: int) -> int:
        """The index of the replica, from the requests in flight at each replica and the group of the request's prefix."""


class RoundRobin:
    """Each replica in turn."""

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, in_flight: Sequence[int], group: int) -> int:
        del group
        self._turn += 1
        return self._turn % len(in_flight)


class LeastInFlight:
    """The replica with the fewest requests in flight; ties are broken in turn."""

    def __init__(self) -> None:
        self._last = -1

    def choose(self, in_flight: Sequence[int], group: int) -> int:
        del group
        many, after = len(in_flight), self._last + 1
        self._last = min(range(many), key=lambda place: (in_flight[place], (place - after) % many))
        return self._last


class Prefix:
    """The replica of the group's last request, unless it has `MOST_AHEAD` more in flight than the least loaded."""

    def __init__(self) -> None:
        self._least = LeastInFlight()
        self._home: dict[int, int] = {}

    def choose(self, in_flight: Sequence[int], group: int) -> int:
        least = self._least.choose(in_flight, group)
        place = self._home.get(group, least)
        if place >= len(in_flight) or in_flight[place] > in_flight[least] + MOST_AHEAD:
            place = least
        self._home[group] = place
        return place


ROUTERS: dict[str, Callable[[], Router]] = {
    "round_robin": RoundRobin,
    "least_in_flight": LeastInFlight,
    "prefix": Prefix,
}
