"""A connection that is read in Python, when the socket is readable: arriving data is kept with its stamp.

The hot path is `_arrived`: one system call, buffer the bytes and the kernel's stamp, and nothing else. If the engine
was idle before, there is time for a few more calls, and each chunk gets its own read (chunkwise_reads.py). Bytes are
parsed when they may hold the end of the response, when there is time and 64 reads are buffered, or when the connection
has been quiet for a while (the sweep of wire.py), never to get a stamp.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from typing import TYPE_CHECKING

from bench.clock import NS_PER_MS, NS_PER_S, now_ns
from bench.transport.chunkwise_reads import (
    announces_chunks,
    chunked_head,
    left_of_chunk,
    read_chunkwise,
)
from bench.transport.connection import Address, Connection
from bench.transport.head import ProtocolError

if TYPE_CHECKING:
    from bench.transport.connection import Engine, Job, Parser

_STAMP = struct.Struct("qq")
_CONTROL_SIZE = socket.CMSG_SPACE(_STAMP.size) if sys.platform != "win32" else 0
_END = b"\r\n\r\n"
_PUT_BY = 64
_STALE_NS = NS_PER_MS
"""From a packet's stamp to its read: longer than the normal path takes."""
_OUT_OF_ORDER = struct.Struct("224xI")
"""tcpi_rcv_ooopack in struct tcp_info (linux/tcp.h): how many packets arrived out of order."""

_Read = tuple[bytes, bytes | int, int]
"""The bytes, the kernel's raw stamp (or ours, in ns), and the last poll that did not report the socket."""

_BUFFER_SIZE = 65_536
_buffer = bytearray(_BUFFER_SIZE)
_BUFFERS = (_buffer,)
_view = memoryview(_buffer)
"""All reads of the process share one buffer: a read is copied out at its own size before the next."""


class PolledConnection(Connection):
    """See the module docstring."""

    __slots__ = ("_lazy", "_more", "_out_of_order", "_put", "_put_by", "_put_by_bytes", "_recvmsg_into")

    def __init__(self, engine: Engine, address: Address, job: Job | None) -> None:
        self._put_by: list[_Read] = []
        self._put_by_bytes = 0  # of potentially large reads: those of whole chunks
        self._put = self._put_by.append
        self._lazy = self._more = False
        self._out_of_order = 0
        super().__init__(engine, address, job)
        self._recvmsg_into = self.sock.recvmsg_into

    def _begin(self) -> None:
        self.reads = self.reads_at_sweep = 0
        self._lazy = False

    def _arrived(self, events: int) -> None:
        if self._patient and self._engine.unhurried and (first := self._first_piece()) is not None:
            self._read_chunkwise(first)
            return
        try:
            size, control, _, _ = self._recvmsg_into(_BUFFERS, _CONTROL_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._lost(f"the connection was reset: {e.strerror}")
            return
        # A read without a kernel stamp is stamped here, before anything else happens.
        stamp: bytes | int = control[0][2] if control else now_ns()
        if not self._patient and isinstance(stamp, bytes) and self._waited_in_order(stamp):
            stamp = now_ns()
        data = _view[:size].tobytes()
        if not size:
            self._ended()
            return
        if self._tls is not None:
            try:
                data = self._tls.received(data)
            except ssl.SSLError as e:
                self._lost(f"TLS: {e}")
                return
            if not data:
                if self._tls.ended:
                    self._ended()
                return
        self.reads += 1
        if self._more or size == _BUFFER_SIZE:
            # Data that did not fit a full buffer was there before this poll, so it has no lower bound.
            self._put((data, stamp, 0 if self._more else self._engine.last_poll_ns))
            self._more = size == _BUFFER_SIZE
        else:
            self._put((data, stamp, self._engine.last_poll_ns))
        if (not self._lazy and not self._announces_chunks(data)) or self._may_end(data):
            self.parse()
        elif (count := len(self._put_by)) >= _PUT_BY:
            if count == _PUT_BY:
                # Synchronized streams reach this all at once: do it later, when there is time.
                self._engine.later(self.catch_up)
            elif count >= 4 * _PUT_BY:
                self.parse()  # There was no time, and memory must not grow with the response.
        if self._tls is not None and self._tls.ended and not self.closed:
            self._ended()

    def _waited_in_order(self, stamp: bytes) -> bool:
        """Whether bytes with this stamp had to wait for an earlier packet, which the network lost or delayed. The
        kernel keeps the stamp of their arrival, which may be a round trip before any program can read them."""
        if now_ns() - self._on_our_clock(stamp) < _STALE_NS:
            return False
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        if len(info) < _OUT_OF_ORDER.size:  # Before Linux 5.4.
            return False
        before = self._out_of_order
        (self._out_of_order,) = _OUT_OF_ORDER.unpack_from(info)
        return self._out_of_order != before

    def _on_our_clock(self, stamp: bytes) -> int:
        """The kernel's stamp, converted to CLOCK_MONOTONIC."""
        seconds, nanoseconds = _STAMP.unpack(stamp)
        return int(seconds) * NS_PER_S + int(nanoseconds) - self._engine.offset_ns

    def _read_chunkwise(self, head: int) -> None:
        """Read all pending data, each chunk with its own stamp; first the head of the response, if this is its length."""
        # Data that an earlier turn left was there before this poll, so it has no lower bound.
        poll_ns = 0 if self._more else self._engine.last_poll_ns
        batch = read_chunkwise(self.sock.recvmsg, _CONTROL_SIZE, _PUT_BY, head, self._left_of)
        self._more = batch.more
        if batch.reads:
            self.reads += len(batch.reads)
            before = len(self._put_by)
            self._put_by += [(data, stamp, poll_ns) for data, stamp in batch.reads]
            self._put_by_bytes += sum(len(data) for data, _ in batch.reads)
            heavy = self._put_by_bytes > _PUT_BY * _BUFFER_SIZE
            if heavy or any(self._may_end(data) for data, _ in batch.reads):
                self.parse()
            elif before < _PUT_BY <= len(self._put_by):
                self._engine.later(self.catch_up)
        if batch.broken is not None:
            self._lost(f"the connection was reset: {batch.broken.strerror}")
        elif batch.ended:
            self._ended()

    _left_of = staticmethod(left_of_chunk)
    """How many bytes follow the first ones of a separately stamped piece."""

    def _first_piece(self) -> int | None:
        """The bytes of the first read if the pending data can be read chunk by chunk (0: it is a chunk). Returns None
        if it cannot."""
        # The first token often comes right after the head: then it also gets its own read.
        head = 0 if self._lazy or self.reads else chunked_head(self.sock)
        if not self._lazy and not head:
            return None
        self._lazy = True
        return head

    def _may_end(self, data: bytes) -> bool:
        """Whether the end of a chunked body may be in this read."""
        return data.endswith(_END) or len(data) < 5

    def _announces_chunks(self, data: bytes) -> bool:
        """Whether this read has the whole head of a chunked body: then only its end needs to be detected.

        The first tokens of a thousand synchronized streams arrive within one millisecond, too short to parse a thousand
        heads.
        """
        end = data.find(_END) if self.reads == 1 else -1
        self._lazy = announces_chunks(data, end)
        return self._lazy

    def _feed(self, job: Job, parser: Parser) -> None:
        exchange = job.exchange
        reads, self._put_by = self._put_by, []
        self._put_by_bytes = 0
        self._put = self._put_by.append
        before_ns, latest_ns = exchange.last_read_ns, now_ns()
        for data, raw, poll_ns in reads:
            if parser.complete:
                parser.behind(data)
                continue
            if isinstance(raw, int):
                stamp_ns, exchange.clock = raw, "mixed"
            else:
                stamp_ns = self._on_our_clock(raw)
                if stamp_ns > latest_ns:  # The system's clock was set after `offset_ns` was measured.
                    stamp_ns, exchange.clock = latest_ns, "mixed"
            is_first = exchange.first_byte_ns is None
            if is_first:
                before_ns = exchange.last_sent_ns if exchange.last_sent_ns is not None else stamp_ns
            if stamp_ns < before_ns:
                # The kernel merges pending data and keeps the latest stamp: the previous read took bytes with these
                # bytes' stamp.
                stamp_ns = before_ns
            if is_first:
                exchange.first_byte_ns = stamp_ns
            pieces = parser.feed(data)
            if parser.beside:
                self.reads -= 1  # A ping is not part of the response.
                if is_first:
                    exchange.first_byte_ns = None
            if exchange.status is None and parser.status is not None:
                self._head(job, parser)
            # That poll did not report them: the bytes came after it, and after those of the previous read.
            bound_ns = poll_ns if poll_ns > before_ns else before_ns
            if bound_ns > stamp_ns:
                bound_ns = stamp_ns
            for piece in pieces:
                exchange.feed(piece, stamp_ns, bound_ns)
            if parser.error is not None:
                raise ProtocolError(parser.error)
            before_ns = stamp_ns
        exchange.last_read_ns = before_ns
        self._bound_memory(exchange)

    def _set_lazy(self, lazy: bool) -> None:
        self._lazy = lazy

    @property
    def put_by(self) -> int:
        return len(self._put_by)

    def _holds_reads(self) -> bool:
        return bool(self._put_by)
