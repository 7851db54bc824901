"""A wire sends nothing before the kernel stamps arrivals, however long a busy machine takes to begin."""

from __future__ import annotations

import asyncio

import pytest

from bench.clock import Clock, LoopClock
from bench.transport import stamping

STAMP = [(1, 37, bytes(48))]


class Heard:
    """Datagrams. The first arrive late, and the next have no stamp."""

    def __init__(self, late: int, bare: int, broken: bool = False) -> None:
        self.late, self.bare, self.broken, self.sent = late, bare, broken, 0

    def send(self, data: bytes, /) -> int:
        if self.broken:
            raise OSError("no loopback")
        self.sent += 1
        return len(data)

    def recvmsg(self, size: int, ancillary: int, /) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        if self.sent <= self.late:
            raise BlockingIOError
        return b".", STAMP if self.sent > self.late + self.bare else [], 0, None


class Standing(LoopClock):
    def __init__(self) -> None: ...

    def now_ns(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("heard", "begun", "sent"),
    [
        (Heard(0, 0), True, 1),
        (Heard(2, 5), True, 8),
        (Heard(0, stamping.MOST_LOOKS - 1), True, stamping.MOST_LOOKS),
        (Heard(0, stamping.MOST_LOOKS), False, stamping.MOST_LOOKS),
        (Heard(0, 0, broken=True), False, 0),
    ],
)
def test_the_wait_ends_with_the_first_stamp_and_is_bounded(
    heard: Heard, begun: bool, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    async def at_once(clock: Clock, deadline_ns: int) -> None:
        looks.append(deadline_ns)

    monkeypatch.setattr(stamping, "sleep_until", at_once)
    assert asyncio.run(stamping.stamps_begun(heard, Standing())) is begun
    assert heard.sent == sent
    assert looks == [7 + stamping.LOOK_NS] * (sent - begun)
