"""Memory of the compiled parts: the bytes that wait for Python are limited over all connections, and stacks are small."""

from __future__ import annotations

import array
import fcntl
import os
import shutil
import socket
import subprocess
import sysconfig
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench import native
from tests.support.run_process import wait_for

ROOT = Path(__file__).parents[2]
MOST, READ, CONNECTIONS = 200_000, 65_536, 12


class Watched:
    """A connection that the core reads, with its other end."""

    def __init__(self, receiver: Any, name: int) -> None:
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.there.setblocking(False)
        self.there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        self.stream = receiver.watch(self.here.fileno(), name, False)
        self.sent = self.taken = 0

    def pour(self) -> None:
        """Send until the kernel's buffers are full."""
        with suppress(BlockingIOError):
            while True:
                self.sent += self.there.send(b"x" * READ)

    def take(self) -> None:
        self.stream.collect()
        while (read := self.stream.take(0, False)) is not None:
            self.taken += len(read[0])

    @property
    def held(self) -> int:
        """The bytes that the core has read and Python has not taken."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self.here.fileno(), termios.FIONREAD, waiting)
        return self.sent - self.taken - waiting[0]

    def close(self) -> None:
        self.stream.forget()
        self.here.close()
        self.there.close()


@pytest.mark.skipif(native.core is None, reason="the compiled core is not there: a C compiler makes it")
def test_bytes_that_wait_for_python_are_bounded_over_all_connections_and_none_is_lost() -> None:
    assert native.core is not None
    receiver = native.core.Receiver(MOST)
    watched = [Watched(receiver, number) for number in range(CONNECTIONS)]
    marker = Watched(receiver, CONNECTIONS)
    try:
        for turn in range(1, 31):
            for each in watched:
                each.pour()
            # When the marker is read, the thread has seen everything that was ready before.
            marker.sent += marker.there.send(b"x")
            wait_for(lambda turn=turn: marker.stream.reads == turn)  # type: ignore[misc]
            marker.take()
        assert sum(each.sent for each in watched) > 2 * (MOST + CONNECTIONS * READ), (
            "more must be sent than may be buffered"
        )
        assert sum(each.held for each in watched) <= MOST + CONNECTIONS * READ

        def all_is_taken() -> bool:
            for each in watched:
                each.take()
            return all(each.taken == each.sent for each in watched)

        wait_for(all_is_taken)
        for each in watched:
            each.pour()
        wait_for(all_is_taken)
    finally:
        for each in (*watched, marker):
            each.close()
        receiver.close()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc says how much of the stack each function takes")
@pytest.mark.parametrize("source", ["bench/native/_core.c", "mockserver/native/_sender.c"])
def test_no_function_of_the_compiled_parts_takes_much_of_a_stack(source: str, tmp_path: Path) -> None:
    include = sysconfig.get_paths()["include"]
    flags = ["-O0", "-std=gnu11", "-fPIC", "-c", "-fstack-usage", "-DPy_LIMITED_API=0x030B0000", f"-I{include}"]
    subprocess.run(["gcc", *flags, "-o", os.fspath(tmp_path / "made.o"), source], cwd=ROOT, check=True)
    (usage,) = tmp_path.glob("*.su")
    rows = [line.split("\t") for line in usage.read_text().splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if int(row[1]) > 16_384] == []
