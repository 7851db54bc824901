"""The servers of a measurement of limits: how they are started, and what the source does with a client's bytes."""

from __future__ import annotations

import os
import runpy
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from bench.clock import NS_PER_MS
from bench.config import RunConfig
from bench.errors import Interrupted, TargetError, UsageError
from bench.limits import measure
from bench.limits.ladder import LADDERS, Climb
from bench.limits.measure import Server, mock
from bench.limits.source import BareSource, _Stream
from bench.observer import Observer
from tests.support.patience import PATIENCE_S
from tests.unit.bench.limits.test_bare_source import GET, answer, post, read, serving


def test_the_mock_has_the_times_of_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    @contextmanager
    def running_mock(flags: str, **more: Any) -> Iterator[Any]:
        started.append((flags, more))
        yield SimpleNamespace(url="http://127.0.0.1:1", process=SimpleNamespace(pid=7))
        started.append("stopped")

    monkeypatch.setattr(measure, "running_mock", running_mock)
    with mock(12.5) as server:
        assert server == Server("http://127.0.0.1:1", 7)
        assert started == [("--ttft 12.5ms --tpot 12.5ms", {"seed": 0, "tokenizer": None})]
    assert started[1:] == ["stopped"]


@pytest.mark.parametrize("pace", [measure.FULL, measure.QUICK])
def test_the_time_for_all_steps_is_that_of_their_loads_and_up_to_half_as_much(pace: measure.Pace) -> None:
    ladders = [ladder.quick() if pace is measure.QUICK else ladder for ladder in LADDERS.values()]
    loads_s = sum(len(ladder.steps) for ladder in ladders) * len(measure.SERVERS) * pace.step_s
    assert loads_s <= pace.all_s <= 1.5 * loads_s
    assert all(pace.step_s * 1_000 >= 2 * ladder.gap_ms for ladder in ladders)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Interrupted("interrupted: run is not complete"), Interrupted),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (TargetError("cannot connect\nto it"), None),
        (UsageError("40,000 requests in flight need more open files"), None),
    ],
)
def test_an_interrupted_climb_is_no_result_and_one_that_cannot_go_on_says_why(
    error: BaseException, raised: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: object) -> None:
        raise error

    monkeypatch.setattr(measure, "_take", take)

    def climbed() -> Climb:
        return measure.climb(LADDERS["chunks"], "the mock", Server("", 0), 1.0, 1 << 62, Observer())

    if raised is None:
        assert climbed() == Climb(steps=(), ended=str(error).splitlines()[0])
        return
    with pytest.raises(raised) as caught:
        climbed()
    if raised is Interrupted:
        assert str(caught.value) == "interrupted: the limits are not known yet, and nothing was stored"


@pytest.mark.parametrize(
    ("before_s", "after_s", "used_s"), [(1.5, 4.0, 2.5), (0.0, 0.25, 0.25), (None, None, None), (1.5, None, None)]
)
def test_a_step_has_the_processor_time_that_its_server_used_meanwhile(
    before_s: float | None, after_s: float | None, used_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def run(name: str, config: RunConfig) -> Any:
        made.append((name, config.concurrency))
        return SimpleNamespace(interrupted=False, summary="the summary", verdict="the verdict")

    def series(folder: object, *, observer: object, progress: bool) -> Any:
        assert not progress
        return SimpleNamespace(run=run)

    monkeypatch.setattr(measure, "RunSeries", series)
    monkeypatch.setattr(measure, "judge_step", lambda *judged: judged)
    times = iter((before_s, after_s))
    server: Any = SimpleNamespace(url="http://127.0.0.1:1", cpu_s=lambda: next(times))
    ladder = LADDERS["chunks"]
    judged: object = measure._take(ladder, 500, "the mock", server, 1.0, Observer())
    assert judged == (ladder, 500, "the summary", "the verdict", "the mock", used_s)
    assert made == [("run", 500)]


class Asked:
    """The set of sockets of a source, and how long it was told to wait for each answer."""

    def __init__(self, poll: Any) -> None:
        self._poll = poll
        self.waits: list[object] = []

    def fileno(self) -> int:
        return int(self._poll.fileno())

    def poll(self, *wait: object) -> Any:
        self.waits += wait
        return self._poll.poll(*wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poll, name)


def test_a_source_asks_its_sockets_without_waiting_so_that_no_token_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []
    run = BareSource.run

    def watched(source: BareSource) -> None:
        asked.append(Asked(source._poll))
        source.__dict__["_poll"] = asked[0]
        run(source)

    monkeypatch.setattr(BareSource, "run", watched)
    with serving(NS_PER_MS) as address, socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(post(3) + GET)
        assert read(connection, len(answer(3))) == answer(3)
    assert asked[0].waits
    assert {*asked[0].waits} == {0}


@pytest.mark.parametrize(("before", "kept"), [((1 << 20) - 1, True), (1 << 20, False)])
def test_a_request_of_more_than_a_mebibyte_is_not_kept(before: int, kept: bool) -> None:
    ours, its = socket.socketpair()
    source = BareSource(NS_PER_MS, its.fileno())
    client, served = socket.socketpair()
    with ours, its, client, served, source._listener, source._poll:
        stream = _Stream(served)
        stream.received += b"P" * before
        source._streams[served.fileno()] = stream
        client.sendall(b"P")
        source._read(stream)
        assert (len(source._streams) == 1) is kept
        assert (served.fileno() >= 0) is kept


@contextmanager
def connected() -> Iterator[tuple[BareSource, _Stream, socket.socket]]:
    """A source that does not run, a connection of it, and the client's end."""
    ours, its = socket.socketpair()
    source = BareSource(NS_PER_MS, its.fileno())
    client, served = socket.socketpair()
    served.setblocking(False)
    stream = _Stream(served)
    source._streams[served.fileno()] = stream
    with ours, its, client, served, source._listener, source._poll:
        yield source, stream, client


def test_the_connection_of_a_client_that_has_left_is_closed() -> None:
    with connected() as (source, stream, client):
        client.close()
        source._read(stream)
        assert source._streams == {}
        assert stream.socket.fileno() == -1


def test_a_client_that_reads_too_slowly_is_disconnected() -> None:
    with connected() as (source, stream, client):
        source._send(stream, b"whole")
        assert (len(source._streams), client.recv(9)) == (1, b"whole")
        source._send(stream, bytes(1 << 25))  # More than any buffer takes.
        assert source._streams == {}
        assert stream.socket.fileno() == -1


def test_the_program_takes_its_flags_from_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    (stdin, parents_end), (ready, stdout) = os.pipe(), os.pipe()
    os.close(parents_end)
    monkeypatch.setattr("sys.argv", ["source", "--gap-ms", "12.5"])
    monkeypatch.delitem(sys.modules, "bench.limits.source")
    with open(stdout, "w") as written, open(stdin) as closed:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", closed)
        monkeypatch.setattr("sys.stdout", written)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("bench.limits.source", run_name="__main__")
    assert ended.value.code == 0
    with open(ready) as line:  # noqa: PTH123
        assert line.read().startswith("source ready at http://127.0.0.1:")
