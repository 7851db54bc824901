"""Requests made before they are due: by this process until the load begins, then by a feed, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Feed(Protocol):
    """Makes items elsewhere, in order, and puts them into a stock."""

    def more(self) -> None:
        """The stock has room again."""

    def wait(self) -> None:
        """Block until an item was put."""

    def needed(self) -> None:
        """An item is due and missing. If none will come, the load must end with the reason."""


class Backlog(Protocol):
    """A dispatcher takes from it and a feed adds to it: a stock of requests, or of their ingredients."""

    @property
    def stock(self) -> Stock[Any]:
        """The items that are ready."""

    @property
    def has_room(self) -> bool:
        """Whether more may be made in advance."""

    def add(self, packed: bytes) -> None:
        """Add a packed item from another process."""

    @property
    def taken(self) -> range:
        """The numbers of the requests or sessions that were taken."""


class Stock(Generic[T]):
    """Items, taken in order."""

    def __init__(self, make: Callable[[], T], weigh: Callable[[T], tuple[int, int]]) -> None:
        """`make` makes the next one here; `weigh` gives its requests and its bytes."""
        self._make = make
        self._weigh = weigh
        self._ahead: deque[T] = deque()
        self._feed: Feed | None = None
        self._room = (0, 0)
        self._callers: deque[tuple[int, Callable[[], None]]] = deque()
        """Each with the instant since which its item is due."""
        self.requests = self.bytes = 0
        """The totals of everything in stock."""
        self.made = 0
        """Items made here."""
        self.late = 0
        """How often an item had to be waited for, or made, when it was due."""

    def __len__(self) -> int:
        return len(self._ahead)

    def make_ahead(
        self,
        requests: int,
        *,
        more: int = 0,
        most_bytes: int | None = None,
        progress: Callable[[int], None] = lambda made: None,
    ) -> int:
        """Make items until the stock has `requests` more requests, then `more` items, within `most_bytes`.

        Returns how many were made. `progress` is called with their number, every hundred and at the end.
        """
        made, wanted = 0, self.requests + requests
        while self.requests < wanted or more > 0:
            if most_bytes is not None and self.bytes >= most_bytes:
                break
            more -= self.requests >= wanted
            self._make_one()
            made += 1
            if made % 100 == 0 or (self.requests >= wanted and more <= 0):
                progress(made)
        return made

    def feed_from(self, feed: Feed, *, requests: int, most_bytes: int) -> None:
        """From now on `feed` makes the items, as many in advance as these limits allow: it is asked whenever less than
        half of that is in stock."""
        self._feed = feed
        self._room = (requests, most_bytes)
        self._refill()

    def _refill(self) -> None:
        if self._feed is not None and 2 * self.requests < self._room[0] and 2 * self.bytes < self._room[1]:
            self._feed.more()

    @property
    def has_room(self) -> bool:
        """Whether more may be made in advance."""
        return self.requests < self._room[0] and self.bytes < self._room[1]

    def _make_one(self) -> None:
        self.put(self._make())
        self.made += 1

    def put(self, thing: T) -> None:
        requests, size = self._weigh(thing)
        self.requests += requests
        self.bytes += size
        self._ahead.append(thing)
        if self._callers:
            self._callers.popleft()[1]()

    @property
    def must_wait(self) -> bool:
        """Whether `take` would block until the feed has made one."""
        return self._feed is not None and not self._ahead

    @property
    def awaited(self) -> bool:
        """Whether an item is due and missing."""
        return bool(self._callers)

    @property
    def due_since_ns(self) -> list[int]:
        """The due times of the missing items."""
        return [since_ns for since_ns, _ in self._callers]

    def when_made(self, due_ns: int, call: Callable[[], None]) -> None:
        """Call this as soon as the feed has made an item, instead of blocking in `take`. Calls are served in order, one
        each. `due_ns`: the instant at which the item was due."""
        if self._feed is None:
            raise RuntimeError("nothing makes more")
        self.late += 1
        self._callers.append((due_ns, call))
        self._feed.needed()

    def take(self) -> T:
        """The next item. Before the load this may block; during the load check `must_wait` first."""
        if not self._ahead:
            self.late += 1
            if self._feed is None:
                self._make_one()
            else:
                self._feed.wait()
        thing = self._ahead.popleft()
        requests, size = self._weigh(thing)
        self.requests -= requests
        self.bytes -= size
        self._refill()
        return thing
