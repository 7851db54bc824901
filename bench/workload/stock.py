"""Requests made before they are due: by this process until the load begins, then by a feed, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Feed(Protocol):
    """Makes things elsewhere, in their order, and puts them into a stock."""

    def more(self) -> None:
        """The stock has room again."""

    def wait(self) -> None:
        """Block until one was put."""

    def needed(self) -> None:
        """One is due and none is here. If none will come, the load must end with the reason."""


class Backlog(Protocol):
    """What a dispatcher takes from and a feed adds to: a stock of requests, or of what requests are made of."""

    @property
    def stock(self) -> Stock[Any]:
        """What is ready."""

    @property
    def has_room(self) -> bool:
        """Whether more may be made ahead."""

    def add(self, packed: bytes) -> None:
        """Another process has made one more."""

    @property
    def taken(self) -> range:
        """The numbers of the requests or sessions that were taken."""


class Stock(Generic[T]):
    """Things in the order in which they are taken."""

    def __init__(self, make: Callable[[], T], weigh: Callable[[T], tuple[int, int]]) -> None:
        """`make` makes the next one here; `weigh` gives its requests and its bytes."""
        self._make = make
        self._weigh = weigh
        self._ahead: deque[T] = deque()
        self._feed: Feed | None = None
        self._room = (0, 0)
        self._callers: deque[tuple[int, Callable[[], None]]] = deque()
        """With the instant since which each is due."""
        self.requests = self.bytes = 0
        """Of all that is here."""
        self.made = 0
        """Things that were made here."""
        self.late = 0
        """How often one had to be waited for, or made, when it was due."""

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
        """Make things until they have so many requests, then `more` things, but at most `most_bytes`.

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
        """From now on `feed` makes the things, as many ahead as these limits allow: it is asked whenever less than half of
        that is here."""
        self._feed = feed
        self._room = (requests, most_bytes)
        self._refill()

    def _refill(self) -> None:
        if self._feed is not None and 2 * self.requests < self._room[0] and 2 * self.bytes < self._room[1]:
            self._feed.more()

    @property
    def has_room(self) -> bool:
        """Whether more may be made ahead."""
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
        """Whether something is due that is not here."""
        return bool(self._callers)

    @property
    def due_since_ns(self) -> list[int]:
        """Since when each of the things is due that is not here."""
        return [since_ns for since_ns, _ in self._callers]

    def when_made(self, due_ns: int, call: Callable[[], None]) -> None:
        """Call this as soon as the feed has made one, instead of blocking in `take`. Calls are served in order, one each.
        `due_ns`: the instant at which it was due."""
        if self._feed is None:
            raise RuntimeError("nothing makes more")
        self.late += 1
        self._callers.append((due_ns, call))
        self._feed.needed()

    def take(self) -> T:
        """The next one. Before the load it may block; during the load ask `must_wait` first."""
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
