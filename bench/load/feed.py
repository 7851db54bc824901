"""Requests or sessions from another process, for as long as a run goes on.

Making a prompt takes up to milliseconds, in which no stamp can be taken: so what is not made before the load is made by
a process beside it (`feed_program.py`), and arrives through a socket of which no read waits. The process makes what it is
asked for, some at a time, and nothing while the stock has enough: memory is bounded at both ends, and a load whose
prompts are all there has its processors to itself.
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
"""A feed that gives nothing for so long, while something is due, gives nothing more: to make one takes some ms."""


class FeedProcess:
    """The process of a feed. It loads its tokenizer as soon as it has started, and then waits for its assignment."""

    def __init__(self, config: RunConfig, *, loading: bool = False) -> None:
        """`loading`: whether requests are being sent already."""
        self.process, self.socket = child_process.start(PROGRAM)
        # A duplicate, so that closing the connection leaves the socket.
        self.connection = Connection(self.socket.dup().detach())
        with contextlib.suppress(OSError):  # It has ended, as `ProcessFeed.begin` finds.
            self.connection.send((config, loading))

    def end(self) -> None:
        """End the process. Ending it again does nothing."""
        self.connection.close()
        self.socket.close()
        child_process.end([self.process], 0.0)  # It has nothing to save, and may be stopped.


class ProcessFeed:
    """The process that makes things, seen from the one that sends them. Close it."""

    def __init__(self, assignment: Assignment, backlog: Backlog, started: FeedProcess | None = None) -> None:
        """`started` is the process, None to start one. It gets ready beside whatever is done meanwhile."""
        self._started = FeedProcess(assignment.config) if started is None else started
        self._process, self._socket = self._started.process, self._started.socket
        self._connection = self._started.connection
        with contextlib.suppress(OSError):  # It has ended, as `begin` finds.
            # There may be millions of arrivals, and only the sender needs them.
            self._connection.send(replace(assignment, share=replace(assignment.share, offsets_ns=None)))
        self._backlog = backlog
        self._frames = Frames()
        self._reading = False
        self._owed = 1
        """Things that were asked for and have not come."""
        self._left_out = 0
        self._error: BenchError | None = None
        """Why nothing more will come."""
        self._came = 0
        """Things that have come."""
        self._watch: asyncio.TimerHandle | None = None

    async def begin(self, made: int) -> None:
        """Have it get ready to go on behind the first `made` things; returns when the next one is made. Raises BenchError."""
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
        """The next `things` that come were made elsewhere, while this process got ready: they are there already."""
        self._left_out = things

    def more(self) -> None:
        """Ask and read on, until the stock has enough."""
        if self._error is not None:
            return
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)
        # Also while it reads: `wait` may have taken all that was asked for, and then there is no next read that asks.
        with contextlib.suppress(BenchError):  # Reading finds it too, behind what was still made.
            self._ask()

    def needed(self) -> None:
        """Something is due and has not come. If none will come, the event loop's exception handler gets the reason, which
        ends the load."""
        if self._error is None:
            self.more()
            if self._watch is None:
                self._watch = self._loop.call_later(STALLED_S, self._look, self._came)
        else:
            self._loop.call_soon(self._give_up)

    def _look(self, came: int) -> None:
        """Something was due, when so many had come."""
        self._watch = None
        if not self._backlog.stock.awaited or self._error is not None:
            return
        if self._came > came:
            self.needed()
            return
        self._process.send_signal(signal.SIGABRT)  # It prints where it stands, unless it is stopped.
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
        """See to it that more is coming."""
        if self._owed <= _BATCH // 2:
            try:
                self._connection.send(_BATCH)
            except OSError:
                raise self._died() from None
            self._owed += _BATCH

    def wait(self) -> None:
        """Block until there is one, before the load. Raises BenchError if none will come."""
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
                # Stop now: if everything that was asked for has come, there is no next read.
                self._stop()
        except BenchError as e:
            self._stop()
            self._error = e
            self._give_up()  # Where nothing is awaited, what is there is sent first.

    def _stop(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    def _take(self) -> int:
        """Read what is there, once; how many things it gave."""
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
        # Its end of the socket is closed: it ends by itself, or has ended.
        status = self._process.wait()
        what = f"the process that makes prompts {child_process.death(status)}"
        if status < 0:  # No defect of ours.
            return UsageError(f"{what}; what had ended is kept: python -m bench report DIR, with the run's directory")
        return BenchError(f"{what}: its error is above")

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._stop()
        self._started.end()
