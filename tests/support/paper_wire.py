"""A wire for replies that only records its writes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from starlette.types import Receive, Scope, Send

from mockserver.replies.wire import Headers


class PaperWire:
    """A wire that keeps a list; its stamps are 1, 2, 3 ..."""

    def __init__(self, blocked: frozenset[int] = frozenset(), gone_after: int | None = None) -> None:
        self.blocked = False
        self.on_lost: Callable[[str], None] | None = None
        self.said: list[Any] = []
        self.headers: Headers = ()
        self._blocked = blocked
        self._gone_after = gone_after
        self._stamps = count(1)

    def begin(self, headers: Headers = ()) -> None:
        self.said.append("head")
        self.headers = headers

    def gone(self) -> bool:
        if self._gone_after is None or self._written < self._gone_after:
            return False
        if self.on_lost is not None:
            self.on_lost("client_closed")
        return True

    @property
    def _written(self) -> int:
        return sum(isinstance(said, bytes) for said in self.said)

    def write(self, event: bytes) -> int | None:
        if self.gone():
            return None
        self.blocked = self._written in self._blocked
        if event:
            self.said.append(event)
        return next(self._stamps)

    def finish(self, event: bytes) -> int | None:
        stamp = self.write(event)
        self.said.append("end")
        return stamp

    def respond(self, status: int, headers: Headers, body: bytes) -> int | None:
        self.said.append((status, body))
        self.headers = headers
        return next(self._stamps)

    def cut_event(self, event: bytes, keep: int) -> int | None:
        self.said += [event[:keep], "fin"]
        return next(self._stamps)

    def cut_body(self, status: int, headers: Headers, body: bytes, keep: int) -> int | None:
        self.said += [(status, body[:keep]), "fin"]
        return next(self._stamps)

    def truncate(self) -> int | None:
        self.said.append("fin")
        return next(self._stamps)

    def reset(self) -> int | None:
        self.said.append("rst")
        return next(self._stamps)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody waits here")
