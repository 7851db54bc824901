"""The actor of a worker: it runs on a node of the cluster, next to the program that sends.

It starts the worker program and speaks its messages; the driver calls it. What the program writes stays on this node's
disk, and a low-priority thread splits it into pieces for the driver. It holds one piece at a time, so a slow driver
only makes a file on the node grow, and does not slow the measuring loop. If the driver falls silent, the actor closes
the program's socket: the program cuts what is in flight and ends, as it does when a local parent dies.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
import threading
from array import array
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from socket import SHUT_RDWR

import orjson

from bench.clock import NS_PER_S, clock_identity, now_ns
from bench.errors import UsageError
from bench.load.assignment import Assignment, WorkerReport
from bench.machine import identity, preflight
from bench.process import child_process, priority
from bench.run_files.growing_file import PIECE_BYTES, GrowingFile
from bench.run_files.run_directory import shard_names
from bench.scale.cluster.clock_offset import SAME_CLOCK, ClockOffset
from bench.scale.cluster.collect import ClockNote, clock_name
from bench.scale.cluster.environment import packages
from bench.scale.cluster.shipping import on_driver_clock
from bench.scale.messages import Begin, Change, ProgressUpdate, Refused, WarmupEnds

SILENCE_NS = 7 * NS_PER_S
"""A driver that has not called for this long is gone. It calls twice a second."""
TAKE_S = 0.5
LOOK_S = 0.2
FULL_BYTES = PIECE_BYTES // 2
"""This many bytes are sent at once. Fewer wait until the driver has waited for `TAKE_S`, so a worker costs it two calls
a second."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the driver compares before a node may send."""

    host: str
    processors: int
    versions: dict[str, str]
    code: str
    clock: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections a worker may have at once, and all workers of its node together. `certain`: not an estimate."""

    worker: int
    node: int
    certain: bool


@dataclass(frozen=True, slots=True)
class Started:
    """A worker's program runs. `directory`: where its files are on the node; `doubt`: what may go wrong with the node's
    limits."""

    directory: str
    doubt: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What has arrived since the last delivery: messages of the program, pieces of its records and samples.

    `ended`: nothing more will come. `death`: how the program ended, if it died before its report.
    """

    number: int
    messages: tuple[object, ...] = ()
    records: bytes = b""
    samples: bytes = b""
    ended: bool = False
    death: str | None = None


NOTHING_YET = Delivery(0)


def node_facts() -> NodeFacts:
    """The facts of this machine."""
    return NodeFacts(platform.node(), identity.processors(), identity.versions(), _code(), clock_identity())


def _code() -> str:
    """A hash of our own source: code installed under one version may still differ."""
    digest = hashlib.sha256()
    for package in packages():
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _with_our_code() -> dict[str, str]:
    """An environment in which the program runs exactly the code that was compared, wherever Ray put it."""
    folders = dict.fromkeys(str(package.parent) for package in packages())
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])}


class NodeWorker:
    """The actor. The cluster calls its methods from several threads at once."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._offset = SAME_CLOCK
        self._messages: list[object] = []
        self._records = self._samples = b""
        self._over: str | None = None
        self._all_read = False
        self._last = NOTHING_YET
        self._heard_ns = now_ns()
        self._begun = False

    # ---- Before the load ----

    def facts(self) -> NodeFacts:
        return node_facts()

    def now_ns(self) -> int:
        return now_ns()

    def start(self, assignment: Assignment, offsets: bytes | None, connections: Connections) -> Started | Refused:
        """Start the worker program. `offsets`: the arrivals, which may be many."""
        try:
            # The program inherits the limit of open files.
            doubt = preflight.check(connections.worker, certain=connections.certain)
            if connections.certain:
                preflight.local_ports_for(connections.node)
            priority.ensure_allowed(assignment.config.cpu_priority, priority.scheduler())
        except UsageError as e:
            return Refused(e)
        share = assignment.share
        if offsets is not None:
            share = replace(share, offsets_ns=array("q", offsets))
        self._directory = Path(tempfile.gettempdir()) / f"trueload-{assignment.run_id}"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._alone, self._number, self._run_id = assignment.alone, share.worker, assignment.run_id
        names = shard_names(None if self._alone else self._number)
        self._paths = [self._directory / name for name in names]
        self._note = self._directory / clock_name(self._number)
        self._errors = self._directory / f"errors-{self._number}.txt"
        with self._errors.open("wb") as errors:
            self._process, self._socket = child_process.start(
                "bench.scale.program", says=errors, environment=_with_our_code()
            )
        # A duplicate: shutting down the original wakes the thread that reads.
        self._connection = Connection(self._socket.dup().detach())
        self._sending = threading.Lock()
        self._connection.send(replace(assignment, share=share, directory=self._directory))
        for task in (self._listen, self._ship, self._watch):
            threading.Thread(target=task, daemon=True).start()
        return Started(str(self._directory), doubt)

    def set_clock(self, offset: ClockOffset) -> None:
        """Set the driver's clock minus this node's: from now on messages and records use the driver's clock."""
        self._offset = offset
        self._note.write_bytes(orjson.dumps(ClockNote(self._number, offset.offset_ns, self._run_id)))

    # ---- During the load ----

    def send(self, message: object) -> None:
        """Send the program a message; instants are on the driver's clock. Does nothing if the program has ended."""
        if isinstance(message, Begin):
            message = Begin(self._offset.theirs(message.start_ns))
            self._heard_ns = now_ns()
            self._begun = True
        elif isinstance(message, Change | WarmupEnds):
            message = replace(message, at_ns=self._offset.theirs(message.at_ns))
        with self._sending, suppress(OSError):
            self._connection.send(message)

    def take(self, received: int) -> Delivery:
        """What has arrived since delivery `received`: after half a second, or at once if there is much, or an answer. A
        lost delivery is sent again."""
        self._heard_ns = now_ns()
        with self._change:
            if self._last.number > received:
                return self._last
            self._change.wait_for(self._is_due, TAKE_S)
            self._last = Delivery(
                received + 1,
                tuple(self._messages),
                self._records,
                self._samples,
                ended=self._all_read and not self._records and not self._samples,
                death=self._over,
            )
            self._messages, self._records, self._samples = [], b"", b""
            self._change.notify_all()
            return self._last

    def _is_due(self) -> bool:
        answered = any(not isinstance(message, ProgressUpdate) for message in self._messages)
        return answered or self._all_read or self._is_full()

    def _is_full(self) -> bool:
        return len(self._records) + len(self._samples) >= FULL_BYTES

    def close(self, done: bool) -> None:
        """End the program. `done`: the driver has all of its shards, so they are removed."""
        if self._process is None:
            return
        self._hang_up()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()
        if done:
            for path in (*self._paths, self._note, self._errors):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                self._directory.rmdir()

    # ---- Threads ----

    def _listen(self) -> None:
        """Read the program's messages, so that it never waits for a reader."""
        reported = False
        while True:
            try:
                message: object = self._connection.recv()
            except (EOFError, OSError):
                break
            if isinstance(message, WorkerReport):
                reported = True
                if message.run_start_ns is not None:
                    message = replace(message, run_start_ns=self._offset.ours(message.run_start_ns))
            with self._change:
                last = self._messages[-1] if self._messages else None
                if isinstance(message, ProgressUpdate) and isinstance(last, ProgressUpdate):
                    # The driver is slow: progress is merged into one message, however long the driver takes.
                    last.tally.merge(message.tally)
                    self._messages[-1] = replace(message, tally=last.tally)
                else:
                    self._messages.append(message)
                self._change.notify_all()
        assert self._process is not None
        status = self._process.wait()
        with self._change:
            self._over = "" if reported else f"{child_process.death(status)} (what it said is in {self._errors} there)"
            self._change.notify_all()

    def _ship(self) -> None:
        """Prepare pieces of what the program writes, as fast as the driver takes them."""
        # With idle scheduling, on a busy machine it could stall while holding the lock that all threads of this process
        # need.
        priority.give_way_a_little()
        records, samples = map(GrowingFile, self._paths)
        while True:
            over = self._over is not None
            pieces = []
            for shard in (records, samples):
                try:
                    pieces.append(on_driver_clock(shard.next_piece(), self._offset.offset_ns))
                except FileNotFoundError:  # The program has not created it yet.
                    pieces.append(b"")
            with self._change:
                if not any(pieces):
                    if over:
                        self._all_read = True
                        self._change.notify_all()
                        return
                    self._change.wait_for(lambda: self._over is not None, LOOK_S)
                    continue
                self._records, self._samples = self._records + pieces[0], self._samples + pieces[1]
                self._change.notify_all()
                # Not full: wait for more to send along.
                if not self._change.wait_for(lambda: self._over is not None or self._is_full(), LOOK_S):
                    continue
                self._change.wait_for(lambda: not self._is_full())

    def _watch(self) -> None:
        """End the program if the driver is gone."""
        with self._change:
            while not self._change.wait_for(lambda: self._over is not None, 1.0):
                if self._begun and now_ns() - self._heard_ns > SILENCE_NS:
                    break
        if self._over is None:
            self._hang_up()

    def _hang_up(self) -> None:
        """Signal to the program that its parent is gone."""
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
