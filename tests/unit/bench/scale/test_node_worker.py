"""The actor on a node, and the driver's side of it. The test plays the other end of each."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import threading
from array import array
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import orjson
import pytest

from bench.config import resolve
from bench.dispatch.interface import NeverSent
from bench.endpoints.interface import BodyOptions
from bench.errors import BenchError, UsageError
from bench.load.assignment import Assignment, WorkerReport
from bench.load.crew import Order
from bench.machine import preflight
from bench.modes.share import WorkerShare
from bench.process import child_process, priority
from bench.process.priority import PriorityUse
from bench.records import to_line
from bench.run_files.run_directory import shard_names
from bench.scale.cluster import node_worker, remote_worker
from bench.scale.cluster.clock_offset import ClockOffset
from bench.scale.cluster.node_worker import Connections, Delivery, NodeWorker, Started
from bench.scale.cluster.remote_worker import NodeLostError, RemoteWorker
from bench.scale.messages import Begin, Change, Command, ProgressUpdate, Ready, Refused, WarmupEnds
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.patience import PATIENCE_S
from tests.support.scripted_workers import FACTS, Counted, delivery

REPORT = WorkerReport(
    run_start_ns=900, reason="requests", problems=("full",), repeated_rows=0, late_requests=0, never_sent=NeverSent(),
    priority=PriorityUse(asked="normal", had="normal"),
)  # fmt: skip
AHEAD = ClockOffset(100, 3)
"""The driver's clock shows 100 ns more than the node's."""


def assignment(directory: Path, *, workers: int = 4, offsets: Sequence[int] | None = None) -> Assignment:
    share = WorkerShare(
        workers=workers, worker=workers - 1, requests=1, duration_ns=None, warmup_requests=0, warmup_ns=0, users=1,
        offsets_ns=None if offsets is None else array("q", offsets),
    )  # fmt: skip
    return Assignment(
        config=resolve({"url": "http://h", "concurrency": 4}), share=share, run_id="r", directory=directory,
        options=BodyOptions(endpoint="chat", model="m"),
    )  # fmt: skip


class Program(subprocess.Popen[bytes]):
    """The program of a worker. `other`: its end of the socket. The test decides when the program ends."""

    def __init__(self) -> None:
        self.over, self.status, self.killed = threading.Event(), 0, False
        self.asked: list[Any] = []

    def start(self, module: str, *, says: IO[bytes], environment: dict[str, str]) -> tuple[Program, socket.socket]:
        ours, theirs = socket.socketpair()
        self.other = Connection(theirs.detach())
        self.asked = [module, says.name, environment["PYTHONPATH"].split(os.pathsep)]
        return self, ours

    def ended(self, status: int) -> None:
        self.status = status
        self.over.set()
        self.other.close()

    def wait(self, timeout: float | None = None) -> int:
        if not self.over.wait(PATIENCE_S if timeout is None else min(timeout, 0.01)):
            raise subprocess.TimeoutExpired("program", timeout or 0)
        return self.status

    def kill(self) -> None:
        self.killed = True
        self.over.set()

    def __del__(self) -> None:
        """There is no process."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program()
    monkeypatch.setattr(child_process, "start", made.start)
    monkeypatch.setattr(priority, "give_way_a_little", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(node_worker, "TAKE_S", PATIENCE_S)  # Deliveries must not depend on the speed of the machine.
    return made


def all_of(node: NodeWorker, received: int) -> list[Delivery]:
    """Every delivery after this one."""
    found = list[Delivery]()
    while not found or not found[-1].ended:
        found.append(node.take(received))
        received = found[-1].number
    return found


def test_a_node_tells_and_writes_instants_in_the_clock_of_the_driver(program: Program, tmp_path: Path) -> None:
    node, there = NodeWorker(), tmp_path / "trueload-r"
    started = node.start(assignment(Path("elsewhere")), array("q", [5, 6]).tobytes(), Connections(1, 2, False))
    assert started == Started(str(there), None)
    assert there.stat().st_mode & 0o777 == 0o700
    given: Assignment = program.other.recv()
    assert (given.directory, list(given.share.offsets_ns or ())) == (there, [5, 6])
    assert program.asked[:2] == ["bench.scale.program", str(there / "errors-3.txt")]
    assert str(Path(node_worker.__file__).parents[3]) in program.asked[2]

    program.other.send(Ready(7))
    first = node.take(0)
    assert (first.number, first.messages, first.records, first.ended, first.death) == (1, (Ready(7),), b"", False, None)
    assert node.take(0) is first  # The first delivery was lost on its way.

    node.set_clock(AHEAD)
    assert orjson.loads((there / "clock-3.json").read_bytes()) == {"worker": 3, "offset_ns": 100, "run_id": "r"}
    for message in (Begin(1000), Change(2000, 5.0), WarmupEnds(3000), Command(Order.CUT)):
        node.send(message)
    assert [program.other.recv() for _ in range(4)] == [
        Begin(900), Change(1900, 5.0), WarmupEnds(2900), Command(Order.CUT),
    ]  # fmt: skip

    record = made_record(0)
    (there / "requests-3.jsonl").write_bytes(to_line(record))
    (there / shard_names(3)[1]).write_bytes(b'{"t_ns":7}\n')
    updates = [delivery(1, [made_record(n)], n).messages[0] for n in (1, 2)]
    for sent in (*updates, REPORT):
        program.other.send(sent)
    program.ended(0)
    rest = all_of(node, 1)
    assert [one.number for one in rest] == list(range(2, 2 + len(rest)))
    update, report = (message for one in rest for message in one.messages)
    assert isinstance(update, ProgressUpdate)
    assert (update.tally.run.succeeded, update.counts["done"]) == (2, 2)
    assert report == replace(REPORT, run_start_ns=1000)
    (line,) = b"".join(one.records for one in rest).splitlines()
    assert orjson.loads(line)["end_ns"] == record.end_ns + 100
    assert b"".join(one.samples for one in rest) == b'{"t_ns":107}\n'
    assert (rest[-1].death, [one.ended for one in rest[:-1]]) == ("", [False] * (len(rest) - 1))
    node.send(Command(Order.CUT))  # The program no longer receives anything.
    node.close(True)
    assert not there.exists()


def test_a_program_that_dies_leaves_what_it_wrote_and_what_it_said(program: Program, tmp_path: Path) -> None:
    node, there = NodeWorker(), tmp_path / "trueload-r"
    node.start(assignment(tmp_path, workers=1), None, Connections(1, 1, False))
    assert program.other.recv().share.offsets_ns is None
    (there / "requests.jsonl").write_bytes(b'{"end_ns":1}\n')
    program.ended(-signal.SIGKILL)
    last = all_of(node, 0)[-1]
    assert last.death == (
        "was killed by SIGKILL (which the system does when memory runs out) "
        f"(what it said is in {there / 'errors-0.txt'} there)"
    )
    node.close(False)
    assert sorted(path.name for path in there.iterdir()) == ["errors-0.txt", "requests.jsonl"]


def test_a_program_that_does_not_end_is_killed(program: Program, tmp_path: Path) -> None:
    node = NodeWorker()
    node.close(True)  # No program was started.
    node.start(assignment(tmp_path), None, Connections(1, 1, False))
    program.other.recv()
    node.close(True)
    assert program.killed
    with pytest.raises(EOFError):
        program.other.recv()


def test_much_goes_at_once(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_worker, "FULL_BYTES", 26)
    node, there = NodeWorker(), tmp_path / "trueload-r"
    node.start(assignment(tmp_path), None, Connections(1, 1, False))
    (there / "requests-3.jsonl").write_bytes(b'{"end_ns":1}\n' * 2)
    assert node.take(0).records == b'{"end_ns":1}\n' * 2
    (there / "requests-3.jsonl").write_bytes(b'{"end_ns":1}\n' * 3)
    (there / shard_names(3)[1]).write_bytes(b'{"t_ns":123}\n')
    both = node.take(1)
    assert (both.records, both.samples) == (b'{"end_ns":1}\n', b'{"t_ns":123}\n')
    program.ended(0)
    node.close(True)


@pytest.mark.parametrize("certain", [True, False])
def test_the_limits_of_a_node_are_looked_at_before_the_program_starts(
    certain: bool, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def check(connections: int, *, certain: bool) -> str | None:
        asked.append((connections, certain))
        return None if certain else "few files"

    monkeypatch.setattr(preflight, "check", check)
    monkeypatch.setattr(preflight, "local_ports_for", asked.append)
    node = NodeWorker()
    started = node.start(assignment(tmp_path), None, Connections(5, 20, certain))
    assert isinstance(started, Started)
    assert started.doubt == (None if certain else "few files")
    assert asked == ([(5, True), 20] if certain else [(5, False)])
    program.ended(0)
    node.close(True)


def test_a_node_without_the_room_starts_nothing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("no ports")

    monkeypatch.setattr(preflight, "local_ports_for", refuse)
    answer = NodeWorker().start(assignment(tmp_path), None, Connections(1, 2, True))
    assert isinstance(answer, Refused)
    assert (str(answer.error), program.asked) == ("no ports", [])


class Looks:
    """The condition of a watch: true after this many checks, when the program is over."""

    def __init__(self, node: NodeWorker, times: int) -> None:
        self._node, self._left, self.waited = node, times, list[float | None]()

    def __enter__(self) -> None:
        """There is no other process."""

    def __exit__(self, *_: object) -> None:
        """There is no other process."""

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        assert predicate() is False
        self._left -= 1
        if self._left < 0:
            self._node._over = ""
        return predicate()


@pytest.mark.parametrize(
    ("begun", "silent_ns", "ends"),
    [(True, 7_000_000_001, True), (True, 7_000_000_000, False), (False, 10**12, False), (True, 0, False)],
)
def test_a_program_is_ended_where_the_driver_is_not_heard_of_for_seven_seconds(
    begun: bool, silent_ns: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeWorker()
    node._change = looks = Looks(node, 3)  # type: ignore[assignment]
    node._begun, node._heard_ns = begun, 10**15
    node._socket, other = socket.socketpair()
    monkeypatch.setattr(node_worker, "now_ns", lambda: 10**15 + silent_ns)
    node._watch()
    assert looks.waited == ([1.0] if ends else [1.0] * 4)
    node._socket.close() if ends else node._socket.sendall(b"still open")
    assert other.recv(100) == (b"" if ends else b"still open")
    node._socket.close()
    other.close()


# ---- The driver's side ----


class Actor:
    """A handle that answers from a script. Errors in the script are raised."""

    node = "n1"

    def __init__(self, **answers: Sequence[Any]) -> None:
        self._answers = {name: iter(values) for name, values in answers.items()}
        self.calls: list[tuple[Any, ...]] = []

    async def call(self, method: str, *arguments: object) -> Any:
        self.calls.append((method, *arguments))
        answer = next(self._answers[method])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tell(self, method: str, *arguments: object) -> None:
        self.calls.append(("tell", method, *arguments))


LOST = NodeLostError("was lost with its node")


class Lines:
    """A file of lines, kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, b""

    def append(self, lines: bytes) -> None:
        self.content += lines

    def close(self) -> str | None:
        return f"{self.path.name} is full" if len(self.content) > 5000 else None


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RemoteWorker]:
    monkeypatch.setattr(remote_worker, "LineLog", Lines)

    def worker(actor: Actor, *, same_clock: bool = False, offsets: Any = None) -> RemoteWorker:
        return RemoteWorker(actor, assignment(tmp_path, offsets=offsets), FACTS, same_clock=same_clock)

    return worker


def test_a_worker_is_started_without_the_directory_of_the_driver(driver: Callable[..., RemoteWorker]) -> None:
    actor = Actor(start=[Started("/there", "few files")], set_clock=[None])
    worker = driver(actor, offsets=[5, 6])
    connections = Connections(1, 2, True)
    asyncio.run(worker.start(connections))
    ((_, light, offsets, given),) = actor.calls
    assert (light.share.offsets_ns, light.directory, light.run_id) == (None, Path(), "r")
    assert (offsets, given) == (array("q", [5, 6]).tobytes(), connections)
    assert (worker.doubt, worker.place.directory, worker.place.worker, worker.place.node) == (
        "few files", "/there", 3, "n1",
    )  # fmt: skip
    asyncio.run(worker.set_clock(AHEAD))
    assert (worker.place.clock_offset_ns, worker.place.clock_bound_ns, worker.place.clock_drift_ns) == (100, 3, None)
    for now, drift in (
        (ClockOffset(110, 3), 4),
        (ClockOffset(102, 3), 4),
        (ClockOffset(90, 3), 4),
        (ClockOffset(80, 3), 14),
    ):
        worker.note_clock(now)
        assert worker.place.clock_drift_ns == drift


@pytest.mark.parametrize(
    ("answers", "act", "error", "sentence"),
    [
        ({"start": [LOST]}, lambda worker: worker.start(Connections(1, 1, True)), BenchError,
         "worker 3 on n1 was lost with its node before it had begun"),
        ({"start": [Refused(UsageError("no ports"))]}, lambda worker: worker.start(Connections(1, 1, True)), UsageError,
         "worker 3 on n1: no ports"),
        ({"take": [Delivery(1), LOST]}, lambda worker: worker.ready(), BenchError,
         "worker 3 on n1 was lost with its node while it got ready"),
        ({"take": [Delivery(1, (Refused(UsageError("no model")),))]}, lambda worker: worker.ready(), UsageError,
         "no model"),
        ({"take": [Delivery(1, death="ended with status 1")]}, lambda worker: worker.ready(), BenchError,
         "worker 3 on n1 ended with status 1 while it got ready"),
        ({"set_clock": [LOST]}, lambda worker: worker.set_clock(AHEAD), BenchError,
         "worker 3 on n1 was lost with its node while it got ready"),
    ],
)  # fmt: skip
def test_a_worker_that_does_not_get_ready_is_named(
    answers: dict[str, Any], act: Callable[..., Any], error: type[BenchError], sentence: str,
    driver: Callable[..., RemoteWorker],
) -> None:  # fmt: skip
    with pytest.raises(BenchError) as raised:
        asyncio.run(act(driver(Actor(**answers))))
    assert (type(raised.value), str(raised.value)) == (error, sentence)


def test_each_delivery_is_asked_for_by_the_last_until_the_program_is_ready(driver: Callable[..., RemoteWorker]) -> None:
    actor = Actor(take=[Delivery(1), Delivery(2, ("other",)), Delivery(3, (Ready(9),))])
    worker = driver(actor)
    asyncio.run(worker.ready())
    assert actor.calls == [("take", 0), ("take", 1), ("take", 2)]
    assert worker.state.stocked == 9


def test_a_clock_is_measured_by_16_pings_unless_it_is_ours(
    driver: Callable[..., RemoteWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(0, 3200, 100))
    monkeypatch.setattr(remote_worker, "now_ns", lambda: next(times))
    actor = Actor(now_ns=[200 * n + 50 - 7 for n in range(16)])
    assert asyncio.run(driver(actor).clock_offset()) == ClockOffset(7, 50)
    assert len(actor.calls) == 16
    assert asyncio.run(driver(Actor(), same_clock=True).clock_offset()) == ClockOffset(0, 0)
    monkeypatch.setattr(remote_worker, "now_ns", lambda: 0)
    assert asyncio.run(driver(Actor(now_ns=[0, LOST])).clock_offset()) is None


def test_what_a_node_delivers_is_written_here(driver: Callable[..., RemoteWorker], tmp_path: Path) -> None:
    parts = [delivery(n, [made_record(n)], n) for n in (1, 2)]
    actor = Actor(take=[*parts, Delivery(3, (REPORT,), death=""), Delivery(4, ended=True, death="")], close=[None])
    worker, live = driver(actor), Counted()
    asyncio.run(worker.follow(live, 0))
    logs: Any = (worker._records, worker._samples)
    assert [log.path for log in logs] == [tmp_path / name for name in shard_names(3)]
    assert logs[0].content == b"".join(part.records for part in parts)
    assert logs[1].content == b'{"t_ns":1}\n{"t_ns":2}\n'
    assert (worker.state.counts["done"], live.ended, worker.state.died, worker.closed) == (2, 2, None, True)
    assert worker.state.report == replace(REPORT, problems=("on n1: full",))
    assert actor.calls[-1] == ("close", True)
    asyncio.run(worker.close(done=True))
    worker.hang_up(done=True)
    assert actor.calls[-1] == ("close", True)


def test_a_lost_node_is_told_with_what_is_missing(
    driver: Callable[..., RemoteWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_worker, "now_ns", lambda: 5_000_000_000)
    for done, missing in ((3, 2), (1, 0), (0, 0)):
        worker = driver(Actor(take=[delivery(1, [made_record(1)], done), LOST]))
        asyncio.run(worker.follow(Counted(), 1_500_000_000))
        assert worker.state.died == (
            "was lost with its node 3.5 s after the start (1 of its records are here; by its last report, "
            f"{missing} that had ended and 1 that were in flight are missing)"
        )


@pytest.mark.parametrize(
    ("deliveries", "died"),
    [
        ([Delivery(1, (REPORT,)), LOST], None),
        ([Delivery(1, (Refused(UsageError("the disk is full")),)), LOST], "ended: the disk is full"),
        ([Delivery(1, (Refused(UsageError("first")),), death="second"), LOST], "ended: first"),
        ([Delivery(1, death="was killed"), LOST], "was killed"),
    ],
)
def test_how_a_worker_ended_is_what_it_said_first(
    deliveries: list[Any], died: str | None, driver: Callable[..., RemoteWorker]
) -> None:
    worker = driver(Actor(take=deliveries))
    asyncio.run(worker.follow(Counted(), 0))
    assert worker.state.died == died


@pytest.mark.parametrize("done", [True, False])
def test_a_worker_is_closed_once(done: bool, driver: Callable[..., RemoteWorker]) -> None:
    actor = Actor(close=[LOST])
    worker = driver(actor)
    worker.send(Begin(3))
    asyncio.run(worker.close(done=done))
    assert worker.closed
    worker.hang_up(done=done)
    assert actor.calls == [("tell", "send", Begin(3)), ("close", done)]
    other = Actor()
    left = driver(other)
    left.hang_up(done=done)
    left.hang_up(done=done)
    assert other.calls == [("tell", "close", done)]
