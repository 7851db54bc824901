"""Requests from another process, for as long as a run goes on.

Making a prompt takes a millisecond, in which no stamp can be taken: so what is not made before the load is made by
a process beside it (`feed_program.py`), and arrives through a socket of which no read waits. The supply says when it has
enough; then nothing is read, the socket fills, and the process waits: memory is bounded at both ends.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.workload import Made, Supply

if TYPE_CHECKING:
    from bench.scale.worker import Assignment

_HEAD = struct.Struct("!IiqqB")
"""Bytes of the body and of the session (-1: none), input and output tokens asked (-1: not known), whether it streams."""
_READ_BYTES = 64 * 1024
_READY = b"."


def frame(made: Made) -> bytes:
    """A request as bytes."""
    session = None if made.session is None else made.session.encode()
    head = _HEAD.pack(
        len(made.body),
        -1 if session is None else len(session),
        -1 if made.input_tokens_asked is None else made.input_tokens_asked,
        -1 if made.output_tokens_asked is None else made.output_tokens_asked,
        made.stream,
    )
    return b"".join((head, session or b"", made.body))


class Frames:
    """Requests out of bytes that come in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[Made]:
        """The requests that are whole with this piece."""
        buffer = self._bytes
        buffer += piece
        made, at = [], 0
        while len(buffer) - at >= _HEAD.size:
            body_bytes, session_bytes, input_tokens, output_tokens, stream = _HEAD.unpack_from(buffer, at)
            body_at = at + _HEAD.size + max(0, session_bytes)
            end = body_at + body_bytes
            if len(buffer) < end:
                break
            made.append(
                Made(
                    body=bytes(buffer[body_at:end]),
                    stream=bool(stream),
                    input_tokens_asked=None if input_tokens < 0 else input_tokens,
                    output_tokens_asked=None if output_tokens < 0 else output_tokens,
                    session=None if session_bytes < 0 else buffer[at + _HEAD.size : body_at].decode(),
                )
            )
            at = end
        del buffer[:at]
        return made


class ProcessFeed:
    """The process that makes requests, seen from the one that sends them. Close it."""

    def __init__(self, assignment: Assignment, supply: Supply) -> None:
        """Starts the process, which gets ready beside whatever is done meanwhile."""
        ours, theirs = socket.socketpair()
        # A session of its own: Ctrl-C is the business of the process that sends.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.scale.feed_program", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours
        # A duplicate, so that closing the connection leaves the socket.
        self._connection = Connection(ours.dup().detach())
        # Its arrivals may be millions, and are the business of who sends them.
        self._connection.send(replace(assignment, share=replace(assignment.share, offsets_ns=None)))
        self._supply = supply
        self._frames = Frames()
        self._reading = False

    async def begin(self, made: int) -> None:
        """Have it go on behind the first `made` requests; returns when the next ones are coming. Raises BenchError."""
        self._loop = asyncio.get_running_loop()
        try:
            self._connection.send(made)
        except OSError:
            raise self._died() from None
        self._socket.setblocking(False)
        await self._ready()
        self.more()

    async def _ready(self) -> None:
        try:
            word = await self._loop.sock_recv(self._socket, len(_READY))
        except OSError:
            word = b""
        if word != _READY:
            raise self._died()

    def more(self) -> None:
        """Read on."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)

    def wait(self) -> None:
        """Block until there is a request: it is due, and late already. Raises BenchError where none will come."""
        while not self._take():
            select.select([self._socket], [], [])

    def _read(self) -> None:
        if self._reading and not self._supply.has_room:
            self._stop()
            return
        try:
            self._take()
        except BenchError:
            self._stop()  # What is there is sent; where more is needed, `wait` says it.

    def _stop(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    def _take(self) -> int:
        """Read what is there, once; how many requests it made whole."""
        try:
            piece = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            piece = b""
        if not piece:
            raise self._died()
        requests = self._frames.feed(piece)
        for made in requests:
            self._supply.add(made)
        return len(requests)

    def _died(self) -> BenchError:
        return BenchError("the process that makes prompts has ended: its error is above")

    def close(self) -> None:
        """End the process."""
        self._stop()
        self._connection.close()
        self._socket.close()
        self._process.terminate()
        self._process.wait()
