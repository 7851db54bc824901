"""A read takes only the bytes that the kernel's stamp is of."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

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
