"""A server behind a network in which the end of its reply overtakes the beginning: python -m
tests.support.overtaking_peer

It needs its own network namespace (unshare -rn), and speaks just enough TCP over a TUN device to answer one request
with two packets, the second first. Prints the instant before which no part of the reply could be read, and the
request's record.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

from bench.clock import now_ns
from bench.records import to_line
from bench.transport.wire import WireTransport
from tests.support.literal_replies import CHUNKED, GOOD, LAST_CHUNK, chunk, frames, head
from tests.support.on_wire import MS, on_wire, once

HERE, THERE, PORT = "10.9.0.1", "10.9.0.2", 8000
APART_NS = 20 * MS
"""By how much the second packet is earlier, at least."""
NOT_ALLOWED = 77
"""The exit status if no device may be created."""
_TUNSETIFF, _TUN_NO_PI = 0x400454CA, 0x1001
_SYN, _PSH, _ACK = 2, 8, 16


class Segment(NamedTuple):
    """A segment from the client."""

    port: int
    seq: int
    flags: int
    data: bytes


def device() -> int:
    """A TUN device whose other side has the address HERE."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", b"peer", _TUN_NO_PI))
    except OSError:
        sys.exit(NOT_ALLOWED)
    for words in (("addr", "add", f"{HERE}/24", "dev", "peer"), ("link", "set", "peer", "up")):
        subprocess.run(("ip", *words), check=True)
    return fd


def segments(fd: int) -> Iterator[Segment]:
    while True:
        packet = os.read(fd, 65_536)
        if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
            tcp = packet[(packet[0] & 15) * 4 :]
            port, _, seq, _, offset, flags = struct.unpack_from("!HHIIBB", tcp)
            yield Segment(port, seq, flags, tcp[(offset >> 4) * 4 :])


def packet(port: int, seq: int, ack: int, flags: int, data: bytes = b"") -> bytes:
    addresses = socket.inet_aton(THERE) + socket.inet_aton(HERE)

    def tcp(checksum: int) -> bytes:
        return struct.pack("!HHIIBBHHH", PORT, port, seq, ack, 5 << 4, flags, 65_535, checksum, 0) + data

    def ip(checksum: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0, 64, socket.IPPROTO_TCP, checksum) + addresses

    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_TCP, 20 + len(data))
    return ip(_checksum(ip(0))) + tcp(_checksum(pseudo + tcp(0)))


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def serve(fd: int, parts: tuple[bytes, bytes], delivered: list[int]) -> None:
    """Answer the first request, the second part first."""
    came = segments(fd)
    syn = next(s for s in came if s.flags & _SYN)
    os.write(fd, packet(syn.port, 0, syn.seq + 1, _SYN | _ACK))
    request = next(s for s in came if s.data)
    ack, (first, second) = request.seq + len(request.data), parts
    os.write(fd, packet(syn.port, 1 + len(first), ack, _PSH | _ACK, second))
    early_ns = now_ns()
    while (now := now_ns()) < early_ns + APART_NS:
        pass
    delivered.append(now)
    os.write(fd, packet(syn.port, 1, ack, _PSH | _ACK, first))


def main() -> None:
    WireTransport.reads_plainly = sys.argv[1] == "compiled"
    events = [chunk(event) for event in frames(*GOOD)]
    parts = head("200 OK", "text/event-stream", CHUNKED) + b"".join(events[:2]), b"".join([*events[2:], LAST_CHUNK])
    delivered: list[int] = []
    threading.Thread(target=serve, args=(device(), parts, delivered), daemon=True).start()
    record = on_wire(f"http://{THERE}:{PORT}", once)
    print(delivered[0])
    print(to_line(record).decode(), end="")


if __name__ == "__main__":
    main()
