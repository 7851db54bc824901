"""Limits on the size and the time of what a client sends. A request that exceeds one is refused before it has fully
arrived.

Rules:
- A head may have `head_bytes`, and `head_s` from its first byte: else a 431 or a 408. Bytes that are neither head nor body,
  such as trailers, count like a head.
- A body may take `body_s` from the end of its head, plus a second for each MB received: else a 408. The application limits
  its size (dialect/body.py): a 413, which is in the ledger.
- Time during which the mock does not read, because an earlier response is in progress, does not count.
- Data that arrives after a refusal is read and dropped for `LINGER_S`. Otherwise the kernel would reset the connection, and
  the client would lose the answer.
- A request that did not arrive has no line in the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import inf

from mockserver.config import MockConfig
from mockserver.dialect import refusals

LINGER_S = 2.0
LARGE_BYTES = 1_000_000
"""From this size on, the memory of a body is given back to the system."""
_BYTES_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of a configuration."""

    head_bytes: float = inf
    head_s: float = inf
    body_s: float = inf

    @classmethod
    def of(cls, config: MockConfig) -> RequestLimits:
        return cls(config.max_head_kb * 1000, config.head_timeout_s, config.body_timeout_s)

    def body_time_s(self, received: int) -> float:
        """How long a body may take, given the bytes received so far."""
        return self.body_s + received / _BYTES_PER_S


def _answer(status: int, message: str) -> bytes:
    body = refusals.error_body(status, message)
    head = b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, HTTPStatus(status).phrase.encode(), len(body)) + body


HEAD_TOO_LARGE = _answer(431, "The head of the request is too large (--max-head-kb).")
HEAD_TOO_SLOW = _answer(408, "The head of the request did not arrive in time (--head-timeout-s).")
BODY_TOO_SLOW = _answer(408, "The body of the request did not arrive in time (--body-timeout-s).")


class ArrivingRequest:
    """Tracks an arriving request against the limits. The parser's callbacks report what a read contained; `read` is
    called after each read."""

    __slots__ = (
        "_began_s", "_held_up", "_limits", "_loop", "_now", "_other", "_refuse", "_timer", "body_bytes", "in_head",
        "in_message", "is_large",
    )  # fmt: skip

    def __init__(
        self,
        limits: RequestLimits,
        loop: asyncio.AbstractEventLoop,
        refuse: Callable[[bytes], None],
        held_up: Callable[[], bool],
    ) -> None:
        """`refuse` is called with the answer to a request that exceeds a limit; it is empty for a connection that has
        sent nothing. `held_up` returns whether the mock itself delays the request's arrival or its answer."""
        self._limits, self._loop = limits, loop
        self._refuse, self._held_up = refuse, held_up
        self.in_head = self.in_message = False
        self.body_bytes = 0
        self.is_large = False
        """Whether any body since the last `_release_memory` was large."""
        self._other = 0
        """Bytes read since the last read with the start of a head or a piece of a body."""
        self._now = 0
        """Bytes of the read being parsed."""
        self._began_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, seconds: float) -> None:
        """Start the timeout for the connection's next byte."""
        if seconds < inf:
            self._timer = self._loop.call_later(seconds, self._on_time)

    def reads(self, size: int) -> None:
        """A read of this many bytes is about to be parsed."""
        self._now = size
        if self._timer is not None and not self.in_message:
            self.stop()

    def read(self) -> None:
        """The read has been parsed."""
        if not self.in_message:
            return
        self._other += self._now
        if self._other > self._limits.head_bytes:
            self._refuse(HEAD_TOO_LARGE)
        elif self._timer is None:
            # The time counts from the first byte; more bytes do not extend it.
            self._began_s = self._loop.time()
            self.wait(self._limits.head_s if self.in_head else self._limits.body_s)

    def begin(self) -> None:
        self.in_head = self.in_message = True
        self.body_bytes = 0
        self._other = -self._now  # Earlier bytes of the read belong to something else.

    def head_is_too_large(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether the complete head exceeds the size limit. Call it before `end_head`."""
        if self._other + 2 * self._now <= self._limits.head_bytes:
            return False
        size = len(url) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
        return size > self._limits.head_bytes

    def end_head(self) -> None:
        self.in_head = False
        self._other = -self._now
        self.stop()

    def add_body(self, size: int) -> None:
        """Record a piece of the body."""
        self.body_bytes += size
        self._other = -self._now
        if self.body_bytes >= LARGE_BYTES:
            self.is_large = True

    def end(self) -> None:
        self.in_message = False
        self.stop()

    def stop(self) -> None:
        """Cancel the timeout."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = None
        if self._held_up():
            self._began_s = self._loop.time()
            self.wait(self._limits.body_s if self.in_message and not self.in_head else self._limits.head_s)
        elif self.in_head:
            self._refuse(HEAD_TOO_SLOW)
        elif self.in_message:
            left_s = self._began_s + self._limits.body_time_s(self.body_bytes) - self._loop.time()
            if left_s > 0:
                self.wait(left_s)
            else:
                self._refuse(BODY_TOO_SLOW)
        else:
            self._refuse(b"")
