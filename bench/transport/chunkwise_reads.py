"""Reading what waits on a socket one HTTP chunk at a time, so that each chunk has its own stamp.

A read has the stamp of its last byte. Where a server sends several chunks in quick succession, the last token with usage and
`[DONE]` say, and the reader has slept, one read for all makes the first as late as the last: 0.1 ms on a machine whose
processors sleep between tokens. Reads that end where a chunk ends get the stamp of each, as long as the kernel has not
merged what waits. On the loopback it merges only what it has acknowledged: the sender's copy is let go of then. When to
acknowledge is the kernel's decision, as for any client. A client that acknowledged sooner would hide the stall of a server
that waits for it between two writes (Nagle's algorithm).
All this takes three calls a chunk, where one would do: it is for a reader that has time, and for the loopback. Between two
machines the network card's driver decides what is merged.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.clock import now_ns

GLANCE = 8
"""Bytes of the first, short read of a chunk: its size line, and less than the smallest chunk of a stream."""
LONGEST_HEAD = 4_096
"""A longer head is read with what follows it."""
MOST = 65_536
"""Bytes of one read."""

_END = b"\r\n\r\n"

Stamp = bytes | int
"""The kernel's stamp as it came, or ours, in ns."""


@dataclass(frozen=True, slots=True)
class ChunkwiseReads:
    """What was read: the bytes and their stamps; whether anything was left behind; and whether the connection has ended."""

    reads: list[tuple[bytes, Stamp]]
    more: bool
    ended: bool
    broken: OSError | None


def chunked_head(sock: socket.socket) -> int:
    """The length of a whole response head that waits on a socket and announces a chunked body; 0 where none does."""
    try:
        waiting = sock.recv(LONGEST_HEAD, socket.MSG_PEEK)
    except OSError:
        return 0  # The read that follows says what is wrong.
    end = waiting.find(_END)
    return end + len(_END) if announces_chunks(waiting, end) else 0


def announces_chunks(data: bytes, end: int) -> bool:
    """Whether the head, whose empty line is at `end` (-1: not there), has the line that announces a chunked body. Other names
    may end as that line begins."""
    return end > 0 and b"\r\ntransfer-encoding: chunked\r\n" in data[: end + 2].lower()


def left_of_chunk(glance: bytes) -> int:
    """How many bytes of an HTTP chunk follow these first few of it, its line end included: 0 where none do, never more than
    `MOST`, and `MOST` where they do not look like the first bytes of a chunk: a wrong guess costs a stamp its exactness."""
    line, line_end, _ = glance.partition(b"\r\n")
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError:
        return MOST
    return min(MOST, max(0, len(line) + 2 + size + 2 - len(glance))) if line_end else MOST


def read_chunkwise(
    recvmsg: Callable[[int, int], Any],
    control_size: int,
    most_calls: int,
    head: int = 0,
    left_of: Callable[[bytes], int] = left_of_chunk,
) -> ChunkwiseReads:
    """Read until nothing waits, or `most_calls` times; first `head` bytes, then HTTP chunks. `recvmsg` is that of a socket
    that does not block. `left_of` says of the first bytes of a chunk how many follow."""
    reads: list[tuple[bytes, Stamp]] = []
    left = head
    for _ in range(most_calls):
        try:
            data, control, _, _ = recvmsg(left or GLANCE, control_size)
        except (BlockingIOError, InterruptedError):
            return ChunkwiseReads(reads, more=False, ended=False, broken=None)
        except OSError as e:
            return ChunkwiseReads(reads, more=False, ended=False, broken=e)
        # A read without a kernel stamp is stamped here, before anything else is done with it.
        stamp: Stamp = control[0][2] if control else now_ns()
        if not data:
            return ChunkwiseReads(reads, more=False, ended=True, broken=None)
        rest, left = left, 0 if left else min(MOST, left_of(data))
        if reads and (rest or stamp == reads[-1][1]):
            # The rest of a chunk, or of what the kernel has merged: a read of its own would claim to be exact.
            data = reads.pop()[0] + data
        reads.append((data, stamp))
    return ChunkwiseReads(reads, more=True, ended=False, broken=None)


def is_loopback(host: str) -> bool:
    """Whether this address, as `connect` takes it, is of this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
