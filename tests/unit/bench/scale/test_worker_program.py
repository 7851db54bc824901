"""The program of a worker: the orders it obeys, its messages and its end. Tests over sockets send its load."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from bench.clock import LoopClock
from bench.errors import Exit, TargetError, UsageError
from bench.load.crew import Order
from bench.load.replies_in_flight import NOTHING
from bench.load.sampling import ClientState
from bench.scale import program
from bench.scale.messages import Begin, Change, Command, ProgressUpdate, Ready, Refused, WarmupEnds
from tests.support.made_records import made_record
from tests.support.virtual_time import VirtualTimeLoop, run_virtual


class Load:
    """Records its messages."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def change(self, at_ns: int, load: float) -> None:
        self.told.append(("change", at_ns, load))

    def warmup_ends(self, at_ns: int) -> None:
        self.told.append(("warm-up", at_ns))

    def tell(self, order: Order, reason: str = "") -> None:
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
    told = program._Unreported(["ttft"])
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


class WholeLoad(Load):
    """A load of 1.2 seconds, whose time may be over after 0.7."""

    failures, client, begun_ns, time_over = 0, ClientState(), 0, False
    on_time_over: Callable[[], None]

    def __init__(self, *, is_over: bool) -> None:
        super().__init__()
        self.is_over = is_over

    def counts(self, at_ns: int) -> dict[str, int]:
        return {"done": (at_ns - self.begun_ns) // 10**6}

    async def run(self) -> str:
        await asyncio.sleep(0.7)
        if self.is_over:
            self.time_over = True
            self.on_time_over()
        await asyncio.sleep(0.5)
        return "the report"


@pytest.mark.parametrize(
    ("room", "begins", "is_over", "sent"),
    [
        (True, True, False, [Ready(4), (500, False), (1_000, False), (1_200, False), "the report"]),
        (True, True, True, [Ready(4), (500, False), (700, True), (1_000, True), (1_200, True), "the report"]),
        (False, True, True, [Ready(4), (1_200, True), "the report"]),
        (True, False, False, [Ready(4)]),
    ],
)
def test_a_worker_says_that_it_is_ready_and_twice_a_second_how_far_it_is(
    room: bool, begins: bool, is_over: bool, sent: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, done, said = WholeLoad(is_over=is_over), list[str](), list[object]()
    defects = SimpleNamespace(on_first=None, raise_first=lambda: done.append("raise"))

    async def does(what: str) -> None:
        done.append(what)

    worker = SimpleNamespace(
        stocked=4,
        prepare=lambda: does("prepare"),
        begin=lambda start_ns, told: load,
        close=lambda: done.append("close"),
    )
    transport = SimpleNamespace(open=lambda: does("open"), close=lambda: does("close transport"))
    monkeypatch.setattr(program, "Defects", lambda: defects)
    monkeypatch.setattr(program, "Worker", lambda *_: worker)
    monkeypatch.setattr(program, "transport_of", lambda *_: transport)
    monkeypatch.setattr(program, "add_message_reader", lambda *_: done.append("listen"))
    monkeypatch.setattr(program, "_has_room", lambda parent: room)
    for name in ("tokenizer_of", "source_of"):
        monkeypatch.setattr(program, name, lambda *_, **__: None)

    async def main(loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        load.begun_ns = clock.now_ns()
        monkeypatch.setattr(program, "process_clock", lambda: clock)
        parent: Any = Parent(Begin(load.begun_ns) if begins else None)
        parent.send = said.append
        given: Any = SimpleNamespace(config=SimpleNamespace(objectives=()), share=SimpleNamespace(worker=0), salt=b"")
        await program._work(parent, given, None)

    run_virtual(main)
    told = [(one.counts["done"], one.time_over) if isinstance(one, ProgressUpdate) else one for one in said]
    assert told == sent
    assert done == ["open", "prepare", *(["listen", "raise"] if begins else []), "close", "close transport"]
    if begins:
        defects.on_first()
        assert load.told == [(Order.CUT, "")]
