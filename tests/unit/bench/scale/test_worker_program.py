"""The program of a worker: what it obeys, tells and ends with. Its load itself is sent in tests over sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import pytest

from bench.errors import Exit, TargetError, UsageError
from bench.load.crew import Order
from bench.load.replies_in_flight import NOTHING
from bench.scale import program
from bench.scale.messages import Change, Command, Refused, WarmupEnds
from tests.support.made_records import made_record


class Load:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def change(self, at_ns: int, load: float) -> None:
        self.told.append(("change", at_ns, load))

    def warmup_ends(self, at_ns: int) -> None:
        self.told.append(("warm-up", at_ns))

    def tell(self, order: Order, reason: str) -> None:
        self.told.append((order, reason))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Change(7, 2.5), ("change", 7, 2.5)),
        (WarmupEnds(8), ("warm-up", 8)),
        (Command(Order.STOP, "enough"), (Order.STOP, "enough")),
        (Command(Order.CUT), (Order.CUT, "")),
    ],
)
def test_a_message_of_the_parent_is_obeyed(message: object, told: tuple[object, ...]) -> None:
    theirs, ours = Pipe()
    load: Any = Load()
    theirs.send(message)
    program._obey(ours, load)
    assert load.told == [told]
    theirs.close()
    ours.close()


def test_without_a_parent_what_is_in_flight_is_cut_once() -> None:
    theirs, ours = Pipe()
    load: Any = Load()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), program._obey, ours, load)
        theirs.close()
        while not load.told:
            await asyncio.sleep(0)
        assert loop.remove_reader(ours.fileno()) is False

    asyncio.run(main())
    assert load.told == [(Order.CUT, "")]
    ours.close()


def test_what_was_told_is_told_once() -> None:
    told = program._Told(["ttft"])
    told.add(made_record(0), NOTHING)
    told.add(made_record(1), NOTHING)
    assert [told.take().run.succeeded for _ in range(2)] == [2, 0]
    told.add(made_record(2), NOTHING)
    assert told.take().run.succeeded == 1


def test_a_parent_that_reads_nothing_has_no_room() -> None:
    theirs, ours = socket.socketpair()
    connection = Connection(ours.detach())
    assert program._has_room(connection) is True
    with socket.socket(fileno=connection.fileno()) as full:
        full.setblocking(False)
        with suppress(BlockingIOError):
            while full.send(bytes(1 << 16)):
                pass
        assert program._has_room(connection) is False
        full.detach()
    theirs.close()
    connection.close()


def _raising(error: BaseException) -> Callable[[Connection], Any]:
    async def serve(parent: Connection) -> NoReturn:
        raise error

    return serve


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("no room"), Exit.USAGE, "no room"),
        (TargetError("gone"), Exit.TARGET, "gone"),
        (BrokenPipeError(), 1, None),
        (ConnectionResetError(), 1, None),
        (ZeroDivisionError("a defect"), Exit.DEFECT, None),
    ],
)
def test_a_worker_ends_with_what_went_wrong(
    error: BaseException,
    status: int,
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "_serve", _raising(error))
    theirs, ours = Pipe()
    assert program.main(os.dup(ours.fileno())) == int(status)
    if said is not None:
        refused = theirs.recv()
        assert isinstance(refused, Refused)
        assert str(refused.error) == said
    else:
        assert not theirs.poll()
    assert ("ZeroDivisionError: a defect" in capsys.readouterr().err) is isinstance(error, ZeroDivisionError)
    theirs.close()
    ours.close()


def test_a_refusal_that_nobody_hears_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_serve", _raising(UsageError("no room")))
    theirs, ours = Pipe()
    theirs.close()
    assert program.main(os.dup(ours.fileno())) == int(Exit.USAGE)
    ours.close()


class Feed:
    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def end(self) -> None:
        self._ended.append("feed")


@pytest.mark.parametrize("fed", [True, False])
def test_the_feed_of_a_worker_ends_with_it(fed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    feed = Feed(ended) if fed else None
    worked: list[object] = []

    async def work(*given: object) -> None:
        worked.append(given[1:])
        raise UsageError("no room")

    class Work:
        config = "its configuration"

    monkeypatch.setattr(program, "feed_ahead", lambda config: feed if config == "its configuration" else None)
    monkeypatch.setattr(program, "_work", work)
    parent: Any = Parent(Work)
    with pytest.raises(UsageError):
        asyncio.run(program._serve(parent))
    assert (worked, ended) == ([(Work, feed)], ["feed"] if fed else [])
    asyncio.run(program._serve(Parent(None)))  # type: ignore[arg-type]
    assert len(worked) == 1


class Parent:
    def __init__(self, said: object) -> None:
        self._said = said

    def recv(self) -> object:
        if self._said is None:
            raise EOFError
        return self._said
