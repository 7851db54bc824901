"""Requests or sessions made by another process for the whole run.

Making a prompt takes up to milliseconds, in which no stamp could be taken. So anything not made before the load is made
by a second process (`feed_program.py`), and arrives through a socket without blocking reads. That process makes things
on request, a batch at a time, and nothing while the stock has enough: memory is bounded at both ends, and a load whose
prompts are all made has its processors to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from bench.errors import BenchError, UsageError
from bench.load.frames import Frames
from bench.process import child_process

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.load.assignment import Assignment
    from bench.workload.stock import Backlog

PROGRAM = "bench.load.feed_program"

_READ_BYTES = 64 * 1024
_READY = b"."
_BATCH = 64
"""How many requests or sessions one message asks for."""
STALLED_S = 120.0
"""A feed that delivers nothing for this long, while something is due, has failed: making one takes some ms."""


class FeedProcess:
    """The process of a feed. It loads its tokenizer immediately, and then waits for its assignment."""

    def __init__(self, config: RunConfig, *, loading: bool = False) -> None:
        """`loading`: whether requests are being sent already."""
        self.process, self.socket = child_process.start(PROGRAM)
        # A duplicate, so that closing the connection keeps the socket open.
        self.connection = Connection(self.socket.dup().detach())
        with contextlib.suppress(OSError):  # It has ended; `ProcessFeed.begin` reports it.
            self.connection.send((config, loading))

    def end(self) -> None:
        """End the process. Idempotent."""
        self.connection.close()
        self.socket.close()
        child_process.end([self.process], 0.0)  # It has nothing to save, so it may be killed.


class ProcessFeed:
    """The sender's side of the process that makes requests. Close it."""

    def __init__(self, assignment: Assignment, backlog: Backlog, started: FeedProcess | None = None) -> None:
        """`started` is the process; None: start one. It prepares in the background."""
        self._started = FeedProcess(assignment.config) if started is None else started
        self._process, self._socket = self._started.process, self._started.socket
        self._connection = self._started.connection
        with contextlib.suppress(OSError):  # It has ended; `begin` reports it.
            # There may be millions of arrivals, and only the sender needs them.
            self._connection.send(replace(assignment, share=replace(assignment.share, offsets_ns=None)))
        self._backlog = backlog
        self._frames = Frames()
        self._reading = False
        self._owed = 1
        """Requested things that have not come."""
        self._left_out = 0
        self._error: BenchError | None = None
        """Why nothing more will come."""
        self._came = 0
        """Things that have come."""
        self._watch: asyncio.TimerHandle | None = None

    async def begin(self, made: int) -> None:
        """Have the process prepare to continue after the first `made` things; returns when the next one is made. Raises
        BenchError."""
        self._loop = asyncio.get_running_loop()
        try:
            self._connection.send(made)
        except OSError:
            raise self._died() from None
        self._socket.setblocking(False)
        await self._ready()

    async def _ready(self) -> None:
        try:
            word = await self._loop.sock_recv(self._socket, len(_READY))
        except OSError:
            word = b""
        if word != _READY:
            raise self._died()

    def leave_out(self, things: int) -> None:
        """Drop the next `things` that come: they were made elsewhere while this process got ready."""
        self._left_out = things

    def more(self) -> None:
        """Request and read more, until the stock has enough."""
        if self._error is not None:
            return
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)
        # Even while reading: `wait` may have taken everything requested, and then no next read would request more.
        with contextlib.suppress(BenchError):  # Reading raises it too, after everything that was still made.
            self._ask()

    def needed(self) -> None:
        """Something is due and has not come. If nothing more will come, the event loop's exception handler gets the
        reason, which ends the load."""
        if self._error is None:
            self.more()
            if self._watch is None:
                self._watch = self._loop.call_later(STALLED_S, self._look, self._came)
        else:
            self._loop.call_soon(self._give_up)

    def _look(self, came: int) -> None:
        """Check for progress: something was due when `came` things had come."""
        self._watch = None
        if not self._backlog.stock.awaited or self._error is not None:
            return
        if self._came > came:
            self.needed()
            return
        self._process.send_signal(signal.SIGABRT)  # It prints its traceback, unless it is stopped.
        self._stop()
        self._error = UsageError(
            f"the process that makes prompts has made none for {STALLED_S:.0f} s, while requests were due: it was stopped, "
            "or hangs where the traceback above ends; requests that had ended are kept: python -m bench report DIR, with "
            "the run's directory"
        )
        self._give_up()

    def _give_up(self) -> None:
        if self._error is not None and self._backlog.stock.awaited:
            raise self._error

    def _ask(self) -> None:
        """Request more if little is outstanding."""
        if self._owed <= _BATCH // 2:
            try:
                self._connection.send(_BATCH)
            except OSError:
                raise self._died() from None
            self._owed += _BATCH

    def wait(self) -> None:
        """Block until one arrives, before the load. Raises BenchError if none will come."""
        while not self._take():
            self._ask()
            select.select([self._socket], [], [])
        if not self._backlog.has_room:
            self._stop()

    def _read(self) -> None:
        try:
            self._take()
            if self._backlog.has_room:
                self._ask()
            else:
                # Stop now: if everything requested has come, there is no next read.
                self._stop()
        except BenchError as e:
            self._stop()
            self._error = e
            self._give_up()  # If nothing is awaited, the stock is sent first.

    def _stop(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    def _take(self) -> int:
        """Read once what has arrived. Returns the number of things added."""
        try:
            piece = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            piece = b""
        if not piece:
            raise self._died()
        things = self._frames.feed(piece)
        self._owed -= len(things)
        self._came += len(things)
        there = min(self._left_out, len(things))
        self._left_out -= there
        for packed in things[there:]:
            self._backlog.add(packed)
        return len(things) - there

    def _died(self) -> BenchError:
        # Its end of the socket is closed: it is ending, or has ended.
        status = self._process.wait()
        message = f"the process that makes prompts {child_process.death(status)}"
        if status < 0:  # Killed by a signal: not a defect of ours.
            return UsageError(
                f"{message}; what had ended is kept: python -m bench report DIR, with the run's directory"
            )
        return BenchError(f"{message}: its error is above")

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._stop()
        self._started.end()
