"""Reading a socket's pending data one HTTP chunk at a time, so that each chunk has its own stamp.

A read has the stamp of its last byte. If a server sends several chunks in quick succession, such as the last token with
usage and `[DONE]`, and the reader has slept, a single read makes the first as late as the last: 0.1 ms on a machine
whose processors sleep between tokens. Reads that end at chunk ends get the stamp of each, as long as the kernel has not
merged the pending data. On the loopback it merges only acknowledged data, when the sender's copy is released. When to
acknowledge is the kernel's decision, as for any client. A client that acknowledged sooner would hide the stall of a
server that waits for it between two writes (Nagle's algorithm).

All this takes three calls a chunk instead of one: it is for a reader that has time, and for the loopback. Between two
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
"""A longer head is read together with what follows it."""
MOST = 65_536
"""Bytes of one read."""

_END = b"\r\n\r\n"

Stamp = bytes | int
"""The kernel's raw stamp, or our own, in ns."""


@dataclass(frozen=True, slots=True)
class ChunkwiseReads:
    """The result: the bytes and their stamps; whether anything was left unread; and whether the connection has ended."""

    reads: list[tuple[bytes, Stamp]]
    more: bool
    ended: bool
    broken: OSError | None


def chunked_head(sock: socket.socket) -> int:
    """The length of a complete pending response head that announces a chunked body; 0 if there is none."""
    try:
        waiting = sock.recv(LONGEST_HEAD, socket.MSG_PEEK)
    except OSError:
        return 0  # The following read reports the error.
    end = waiting.find(_END)
    return end + len(_END) if announces_chunks(waiting, end) else 0


def announces_chunks(data: bytes, end: int) -> bool:
    """Whether the head, whose empty line is at `end` (-1: missing), has the line that announces a chunked body. Other
    header names may end in the same way as that line begins."""
    return end > 0 and b"\r\ntransfer-encoding: chunked\r\n" in data[: end + 2].lower()


def left_of_chunk(glance: bytes) -> int:
    """How many bytes of an HTTP chunk follow its first few, including its line end: 0 if none do, at most `MOST`, and
    `MOST` if they do not look like the start of a chunk: a wrong guess only costs a stamp its exactness."""
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
    """Read until nothing is pending, or `most_calls` times; first `head` bytes, then HTTP chunks. `recvmsg` belongs to
    a non-blocking socket. `left_of` returns how many bytes follow the first ones of a chunk."""
    reads: list[tuple[bytes, Stamp]] = []
    left = head
    for _ in range(most_calls):
        try:
            data, control, _, _ = recvmsg(left or GLANCE, control_size)
        except (BlockingIOError, InterruptedError):
            return ChunkwiseReads(reads, more=False, ended=False, broken=None)
        except OSError as e:
            return ChunkwiseReads(reads, more=False, ended=False, broken=e)
        # A read without a kernel stamp is stamped here, before anything else happens.
        stamp: Stamp = control[0][2] if control else now_ns()
        if not data:
            return ChunkwiseReads(reads, more=False, ended=True, broken=None)
        rest, left = left, 0 if left else min(MOST, left_of(data))
        if reads and (rest or stamp == reads[-1][1]):
            # The rest of a chunk, or of data that the kernel has merged: a separate read would claim to be exact.
            data = reads.pop()[0] + data
        reads.append((data, stamp))
    return ChunkwiseReads(reads, more=True, ended=False, broken=None)


def is_loopback(host: str) -> bool:
    """Whether this address, in the form that `connect` takes, is on this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
