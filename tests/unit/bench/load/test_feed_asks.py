"""A feed's requests to its process, which the test plays: none while the stock is full, more whenever it is not."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError
from bench.load.assignment import Assignment
from bench.load.feed import ProcessFeed
from bench.load.frames import frame
from bench.modes.share import WorkerShare
from bench.process import child_process
from bench.workload.stock import Stock

ROOM = 60


class Things:
    """A backlog of bytes."""

    def __init__(self) -> None:
        self.stock: Stock[bytes] = Stock(bytes, lambda thing: (1, len(thing)))
        self.taken = range(0)

    @property
    def has_room(self) -> bool:
        return self.stock.has_room

    def add(self, packed: bytes) -> None:
        self.stock.put(packed)


class Maker:
    """The other end of a feed's socket, and how much was requested but not yet sent."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._asked = Connection(end.dup().detach())
        for _ in ("configuration", "assignment", "how many were made"):
            self._asked.recv()
        self._sent = 0
        self._owed = 1

    @property
    def owed(self) -> int:
        while self._asked.poll():
            self._owed += self._asked.recv()
        return self._owed

    def send(self, things: int) -> None:
        """Send this many things, which arrive at once."""
        self._end.sendall(b"".join(frame(b"%d" % (self._sent + i)) for i in range(things)))
        self._sent += things
        self._owed -= things


@contextlib.asynccontextmanager
async def begun(monkeypatch: pytest.MonkeyPatch, room: int = ROOM) -> AsyncIterator[tuple[Things, Maker]]:
    """A stock that has its first thing, and the process that makes more."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(child_process, "start", lambda *args: (Mock(), ours))
    share = WorkerShare(worker=0, workers=1, requests=None, duration_ns=1, warmup_requests=0, warmup_ns=0, users=2)
    options = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)
    config = resolve({"url": "http://127.0.0.1:1", "duration": "1"})
    things = Things()
    feed = ProcessFeed(Assignment(config=config, share=share, run_id="r", options=options, directory=Path()), things)
    with theirs, contextlib.closing(feed):
        theirs.sendall(b".")
        await feed.begin(0)
        maker = Maker(theirs)
        things.stock.feed_from(feed, requests=room, most_bytes=10**6)
        yield things, maker


async def all_read() -> None:
    """One turn of the loop for a read, one for its consequences."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_all_that_was_asked_for_comes_at_once_and_fills_the_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load() -> None:
        async with begun(monkeypatch) as (things, maker):
            assert maker.owed == 65
            maker.send(65)
            await all_read()
            assert (len(things.stock), maker.owed) == (65, 0), "the stock is full, and nothing is on its way"
            for i in range(35):
                assert (things.stock.take(), maker.owed) == (b"%d" % i, 0), "half of the stock is left"
            things.stock.take()
            assert maker.owed == 64

    asyncio.run(load())


@pytest.mark.parametrize("room", [ROOM, 1000])
def test_what_a_blocking_take_read_at_once_is_not_all_that_ever_comes(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the loop's first turn, everything requested has been read, and nothing is on its way. The feed must
    request more."""

    async def load() -> None:
        async with begun(monkeypatch, room) as (things, maker):
            maker.send(maker.owed)
            assert things.stock.take() == b"0"
            assert (len(things.stock), maker.owed) == (64, 64 if room > ROOM else 0)
            if room == ROOM:
                for _ in range(35):
                    things.stock.take()
            assert maker.owed == 64
            maker.send(64)
            await all_read()
            assert len(things.stock) == (93 if room == ROOM else 128)

    asyncio.run(load())


@pytest.mark.parametrize("seed", range(20))
def test_more_is_on_its_way_whenever_less_than_half_is_there(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)

    async def load() -> None:
        async with begun(monkeypatch) as (things, maker):
            for _ in range(200):
                maker.send(rng.choice((0, 1, maker.owed // 2, maker.owed)))
                await all_read()
                for _ in range(rng.choice((0, len(things.stock) // 2, len(things.stock)))):
                    things.stock.take()
                await all_read()
                assert 2 * len(things.stock) >= ROOM or maker.owed > 0
                assert len(things.stock) < ROOM + 100, "memory must be bounded"

    asyncio.run(load())


def test_a_feed_that_is_closed_is_not_watched_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load() -> None:
        async with begun(monkeypatch) as (things, _):
            things.stock.when_made(0, lambda: None)
            feed: Any = things.stock._feed
            watch: asyncio.TimerHandle = feed._watch
            assert watch.when() - asyncio.get_running_loop().time() <= 120
            feed.needed()
            assert feed._watch is watch, "one watch is enough"
            assert not watch.cancelled()
        assert watch.cancelled()

    asyncio.run(load())


@pytest.mark.parametrize(
    ("awaited", "error", "came", "does"),
    [
        (True, None, 7, "gives up"),
        (True, None, 8, "waits on"),
        # Meanwhile the due data has come, or the reason why it never will is known.
        (False, None, 7, "nothing"),
        (True, BenchError("it died"), 7, "nothing"),
    ],
)
def test_a_process_that_made_nothing_while_something_was_due_is_given_up(
    awaited: bool, error: BenchError | None, came: int, does: str
) -> None:
    feed = Mock(_backlog=Mock(stock=Mock(awaited=awaited)), _error=error, _came=came)
    ProcessFeed._look(feed, 7)
    done = {"waits on": feed.needed.called, "gives up": feed._give_up.called}
    assert [what for what, happened in done.items() if happened] == [does] * (does != "nothing")
    assert feed._process.send_signal.called is feed._stop.called is (does == "gives up")
    if does == "gives up":
        assert "made none for 120 s, while requests were due" in str(feed._error)
