"""A read takes only the bytes that the kernel's stamp is of."""

from __future__ import annotations

import socket
import struct
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mockserver.clock import now_ns
from mockserver.http.listeners import SO_TIMESTAMPNS
from mockserver.http.stamped_reads import KernelStampedReads


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
def test_a_read_takes_what_the_peek_saw_or_one_byte_if_it_saw_nothing() -> None:
    inner: Any = SimpleNamespace(connection_made=lambda transport: None, connection_lost=lambda exc: None)
    unused: Any = None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport: Any = SimpleNamespace(get_extra_info=lambda name: ours)
        reads = KernelStampedReads(inner, unused)
        reads.connection_made(transport)
        assert len(reads.get_buffer(-1)) == 1
        theirs.sendall(b"abc")
        assert len(reads.get_buffer(-1)) == 3
        reads.connection_lost(None)


MS = 1_000_000
TIME = struct.pack("@qq", 3, 5)
"""3 s and 5 ns in the kernel's clock."""


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
@pytest.mark.parametrize(
    ("control", "nbytes", "stamp_ns"),
    [
        ([(socket.SOL_SOCKET, SO_TIMESTAMPNS, TIME)], 3, 3_000_000_005 + MS),
        ([(socket.SOL_SOCKET, SO_TIMESTAMPNS, TIME)], 2, None),  # Not what the stamp is of.
        ([(socket.SOL_SOCKET, SO_TIMESTAMPNS + 1, TIME)], 3, None),
        ([(socket.SOL_SOCKET + 1, SO_TIMESTAMPNS, TIME)], 3, None),
        ([], 3, None),
    ],
)
def test_a_read_has_the_stamp_of_the_kernel_or_the_time_at_which_it_was_read(
    control: list[tuple[int, int, bytes]], nbytes: int, stamp_ns: int | None
) -> None:
    fed: list[tuple[bytes, int, str]] = []
    inner: Any = SimpleNamespace(feed=lambda data, at_ns, clock: fed.append((bytes(data), at_ns, clock)))
    offset: Any = SimpleNamespace(to_monotonic_ns=lambda at_ns: at_ns + MS)
    reads = KernelStampedReads(inner, offset)

    def peek(buffers: list[memoryview], *_: int) -> tuple[int, Any, int, None]:
        buffers[0][:3] = b"abc"
        return 3, control, 0, None

    reads._socket = SimpleNamespace(recvmsg_into=peek)  # type: ignore[assignment]
    assert bytes(reads.get_buffer(-1)) == b"abc"
    before_ns = now_ns()
    reads.buffer_updated(nbytes)
    ((data, at_ns, clock),) = fed
    assert (data, clock) == (b"abc"[:nbytes], "user" if stamp_ns is None else "kernel")
    assert at_ns == stamp_ns if stamp_ns is not None else before_ns <= at_ns <= now_ns()
    # The next read does not have the stamp of this one.
    reads._socket = SimpleNamespace(recvmsg_into=lambda *_: (3, [], 0, None))  # type: ignore[assignment]
    reads.get_buffer(-1)
    reads.buffer_updated(3)
    assert fed[1][2] == "user"


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
def test_a_closed_or_broken_connection_is_left_to_the_read() -> None:
    unused: Any = None
    reads = KernelStampedReads(unused, unused)

    def broken(*_: object) -> None:
        raise ConnectionResetError

    peeks: list[Any] = [lambda *_: (0, [], 0, None), broken]
    for peek in peeks:
        reads._socket = SimpleNamespace(recvmsg_into=peek)  # type: ignore[assignment]
        assert len(reads.get_buffer(-1)) > 1000


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
def test_a_lost_connection_and_a_full_one_are_passed_on() -> None:
    calls: list[object] = []
    names = ("pause_writing", "resume_writing")
    inner: Any = SimpleNamespace(
        connection_lost=calls.append, **{name: lambda name=name: calls.append(name) for name in names}
    )
    unused: Any = None
    reads = KernelStampedReads(inner, unused)
    reads.pause_writing()
    reads.resume_writing()
    reads.connection_lost(None)
    assert calls == [*names, None]
