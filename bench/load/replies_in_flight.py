"""Tokens of replies that have not ended, counted once a second, so that a live view shows them as they come.

Nothing is counted while a chunk arrives. Once a second the transport reads its buffered data, one connection at a time
and only when nothing else is due. Then the tokens that each reply has received so far are compared with the last count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.clock import NS_PER_MS, NS_PER_S, Clock
from bench.records.request_record import Phase

if TYPE_CHECKING:
    from bench.transport.interface import ReplyInFlight, Transport

EVERY_NS = NS_PER_S
LEAD_NS = 50 * NS_PER_MS
"""Replies are read this long before each second of the load is over: live views are updated at its end."""


@dataclass(slots=True)
class Counted:
    """What has been counted of a reply before its end."""

    tokens: int = 0
    has_first: bool = False


NOTHING = Counted()


@dataclass(frozen=True, slots=True)
class Arrived:
    """New tokens of requests in flight, and new times to first token (ns)."""

    phase: Phase
    tokens: int
    ttft_ns: tuple[int, ...]


class RepliesInFlight:
    """Counts the tokens received by replies in flight, and keeps each reply's count until its record exists."""

    def __init__(self, transport: Transport, clock: Clock, tell: Callable[[Arrived], None]) -> None:
        self._transport = transport
        self._clock = clock
        self._tell = tell
        self._counted: dict[str, Counted] = {}

    def start(self, start_ns: int) -> None:
        """Start counting, shortly before the end of each second since `start_ns`."""
        self._next_ns = start_ns + EVERY_NS - LEAD_NS
        self._timer = self._clock.call_at(self._next_ns, self._read)

    def stop(self) -> None:
        """Stop counting."""
        self._timer.cancel()

    def take(self, request_id: str) -> Counted:
        """The count of a request that has ended."""
        return self._counted.pop(request_id, Counted())

    def _read(self) -> None:
        self._next_ns = max(self._next_ns + EVERY_NS, self._clock.now_ns())
        self._timer = self._clock.call_at(self._next_ns, self._read)
        self._transport.read_replies(self._count)

    def _count(self, replies: Iterable[ReplyInFlight]) -> None:
        """Report the new tokens of these replies."""
        tokens: dict[Phase, int] = {}
        first: dict[Phase, list[int]] = {}
        for reply in replies:
            so_far = reply.tokens_so_far
            if not so_far:
                continue
            request = reply.request
            counted = self._counted.setdefault(request.id, Counted())
            if not counted.has_first and (ttft_ns := reply.ttft_ns) is not None:
                counted.has_first = True
                first.setdefault(request.phase, []).append(ttft_ns)
            tokens[request.phase] = tokens.get(request.phase, 0) + so_far - counted.tokens
            counted.tokens = so_far
        for phase, count in tokens.items():
            self._tell(Arrived(phase, count, tuple(first.get(phase, ()))))
