"""Identifies requests: id, index, attempt, and the key of the random streams."""

from __future__ import annotations

from dataclasses import dataclass

from mockserver.plans.plan import StreamKey, index_of
from mockserver.workers.shared_state import SharedState


@dataclass(frozen=True, slots=True)
class Arrival:
    """The identity of one request."""

    id: str | None
    """The `x-request-id` header."""
    index: int | None
    attempt: int
    """1 for the first request with this id, 2 for the next."""
    key: StreamKey
    traceparent: str | None = None
    """The `traceparent` header, which identifies the client's span."""

    @property
    def own_key(self) -> StreamKey:
        """A key that is unique across runs: the whole id, if there is one."""
        return self.key if self.id is None else self.id


class Arrivals:
    """Identifies requests, and counts the requests of this process by kind of identification."""

    def __init__(self, shared: SharedState) -> None:
        self.by_index = 0
        self.by_id = 0
        self.by_order = 0
        self._shared = shared

    def identify(self, request_id: str | None, traceparent: str | None = None) -> Arrival:
        """The identity of a request that has just arrived."""
        if request_id is None:
            self.by_order += 1
            return Arrival(None, None, 1, ("arrival", self._shared.take("arrivals_by_order")), traceparent)
        attempt = self._shared.attempt(request_id)
        index = index_of(request_id)
        if index is None:
            self.by_id += 1
            return Arrival(request_id, None, attempt, request_id, traceparent)
        self.by_index += 1
        return Arrival(request_id, index, attempt, index, traceparent)

    def counts(self) -> dict[str, int]:
        """The number of requests identified in each way, for `/truth`."""
        return {"index": self.by_index, "id": self.by_id, "arrival_order": self.by_order}


def key_of_choice(key: StreamKey, choice: int) -> StreamKey:
    """The key of a choice. The first choice has the request's own key, so additional choices do not change it."""
    return key if choice == 0 else (f"choice:{key!r}", choice)
