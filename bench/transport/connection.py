"""One connection of the wire transport: connects, sends one request at a time, and keeps what arrives with its stamp.

The hot path is `_arrived`: one system call, the bytes and the kernel's stamp put by, and nothing else. Where the engine was
idle before, there is time for a few calls more, and each chunk gets a read of its own (chunkwise_reads.py). Bytes are parsed
when they may hold the end of the response, when there is time and 64 reads have been put by, or when the connection has
been quiet for a while (the sweep of wire.py), never to get a stamp.

States, in order: connecting, handshaking (TLS), idle, busy (a job is set), closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import struct
import sys
from typing import TYPE_CHECKING, Any

from bench.clock import NS_PER_S, now_ns
from bench.records import Outcome
from bench.transport.chunkwise_reads import (
    announces_chunks,
    chunked_head,
    hold_acks,
    is_loopback,
    left_of_chunk,
    read_chunkwise,
    release_acks,
)
from bench.transport.exchange import Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.http1 import ResponseParser
from bench.transport.tls import TlsChannel

if TYPE_CHECKING:
    from bench.transport.exchange import Exchange
    from bench.transport.websocket import ClientSocket
    from bench.transport.wire import Job, WireTransport

    Parser = ResponseParser | ClientSocket

SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; Python has no name for it."""

_STAMP = struct.Struct("qq")
_CONTROL_SIZE = socket.CMSG_SPACE(_STAMP.size) if sys.platform != "win32" else 0
_END = b"\r\n\r\n"
_PUT_BY = 64
READABLE = select.EPOLLIN if hasattr(select, "EPOLLIN") else 1
WRITABLE = select.EPOLLOUT if hasattr(select, "EPOLLOUT") else 4

_Read = tuple[bytes, bytes | int, int]
"""The bytes, the kernel's stamp as it came (or ours, in ns), and the last poll that did not report the socket."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and what `connect` takes in it."""

_BUFFER_SIZE = 65_536
_buffer = bytearray(_BUFFER_SIZE)
_BUFFERS = (_buffer,)
_view = memoryview(_buffer)
"""All reads of the process go through one buffer: a read is copied out at its own size before the next."""


class Connection:
    """A socket and what it is doing. `job` is the request being served, None while the connection is idle."""

    __slots__ = (
        "_engine", "_holds_acks", "_lazy", "_more", "_parser", "_patient", "_put", "_put_by", "_put_by_bytes",
        "_recvmsg_into", "_tls", "_unsent", "address", "began_ns", "closed", "connected", "fd", "job", "pooled",
        "quiet_since_ns", "reads", "reads_at_sweep", "sock",
    )  # fmt: skip

    def __init__(self, engine: WireTransport, address: Address, job: Job | None) -> None:
        self._engine = engine
        self.job = job
        self.connected = self.closed = False
        self.pooled = job is None
        """Whether it stood before the request at hand: made ahead, or by an earlier one."""
        self.reads = self.reads_at_sweep = 0
        self._put_by: list[_Read] = []
        self._put_by_bytes = 0  # of reads that may be large: those of whole chunks
        self._put = self._put_by.append
        self._parser: Parser | None = None
        self._lazy = self._more = self._holds_acks = False
        self._unsent = b""
        self._tls = None if engine.tls is None else TlsChannel(engine.tls, engine.host)
        self.address = address
        family, where = address
        self._patient = self._tls is None and is_loopback(str(where[0]))
        self.began_ns = self.quiet_since_ns = now_ns()
        self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.fd = self.sock.fileno()
        self._recvmsg_into = self.sock.recvmsg_into
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        engine.watch(self, self._connecting, WRITABLE)
        error = self.sock.connect_ex(where)
        if error not in (0, errno.EINPROGRESS):
            engine.unwatch(self)
            engine.loop.call_soon(self._refused, error)

    # Getting ready.

    def _connecting(self, events: int) -> None:
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refused(error)
        elif self._tls is None:
            self._ready()
        else:
            self._engine.watch(self, self._handshaking, READABLE)
            self._tls.handshake()
            try:
                self._transmit(self._tls.outgoing())
            except OSError as e:
                self._refused(e.errno or errno.ECONNRESET)

    def _refused(self, error: int) -> None:
        if not self.closed:
            self.close()
            self._engine.connect_failed(self, os.strerror(error))

    def _handshaking(self, events: int) -> None:
        assert self._tls is not None
        try:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionResetError("the server closed the connection during the TLS handshake")
            self._tls.received(data)
            self._transmit(self._tls.outgoing())
        except BlockingIOError:
            return
        except (OSError, ssl.SSLError) as e:
            self.close()
            self._engine.connect_failed(self, f"TLS: {e}")
            return
        if self._tls.ready:
            self._ready()

    def _ready(self) -> None:
        self.connected = True
        self._watch_reading()
        self._engine.connected(self)

    # Sending.

    def alive(self) -> bool:
        """Whether an idle connection can be used: a server that has closed it, or speaks unasked, shows here."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if self._tls is None:
            return False
        self._arrived(READABLE)  # TLS may have left a session ticket there, which ends nothing.
        return not self.closed

    def send(self, job: Job, payload: bytes) -> None:
        """Send a request. `sent` is taken immediately before the system call that hands over its first byte."""
        self.job = job
        self._begin()
        self._parser = self._new_parser()
        if self._tls is not None:
            payload = self._tls.encrypt(payload)
        sent_ns = now_ns()
        try:
            count = self.sock.send(payload)
        except BlockingIOError:
            count = 0
        except OSError as e:
            job.exchange.sent_ns = sent_ns
            # Not here: this may be inside `start`, which answers nothing.
            self._engine.loop.call_soon(self._unsendable, job, f"the connection was reset: {e.strerror}")
            return
        job.exchange.sent_ns = self.quiet_since_ns = sent_ns
        if count < len(payload):
            self._unsent = payload[count:]
            self._watch_sending()

    def _begin(self) -> None:
        """A request is sent next: what comes from now on is its response."""
        self.reads = self.reads_at_sweep = 0
        self._lazy = False

    def _watch_sending(self) -> None:
        """Send the rest when the socket takes more, and read meanwhile."""
        self._engine.watch(self, self._sending, READABLE | WRITABLE)

    def _watch_reading(self) -> None:
        """Read what comes from now on."""
        self._engine.watch(self, self._arrived, READABLE)

    def _new_parser(self) -> Parser:
        """What reads the reply that comes next."""
        return ResponseParser()

    def _unsendable(self, job: Job, error: str) -> None:
        if self.job is job and not self.closed:  # Nothing else has ended it meanwhile.
            self._lost(error)

    def _transmit(self, data: bytes) -> None:
        if data:
            self._unsent += data
            self._flush()

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            return

    def _sending(self, events: int) -> None:
        if events & WRITABLE and self._unsent:
            try:
                self._flush()
            except OSError as e:
                self._lost(f"the connection was reset: {e.strerror}")
                return
            if not self._unsent:
                self._watch_reading()
        if events & ~WRITABLE:
            self._arrived(events)

    # Receiving.

    def _arrived(self, events: int) -> None:
        if self._patient and self._engine.unhurried and (first := self._first_piece()) is not None:
            self._read_chunkwise(first)
            return
        if self._holds_acks:
            self._holds_acks = False
            with contextlib.suppress(OSError):  # The read says what is wrong with it.
                release_acks(self.sock)
        try:
            size, control, _, _ = self._recvmsg_into(_BUFFERS, _CONTROL_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._lost(f"the connection was reset: {e.strerror}")
            return
        # A read without a kernel stamp is stamped here, before anything else is done with it.
        stamp: bytes | int = control[0][2] if control else now_ns()
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
            # What a full buffer leaves behind was there before this poll: nothing bounds it from below.
            self._put((data, stamp, 0 if self._more else self._engine.last_poll_ns))
            self._more = size == _BUFFER_SIZE
        else:
            self._put((data, stamp, self._engine.last_poll_ns))
        if (not self._lazy and not self._announces_chunks(data)) or self._may_end(data):
            self.parse()
        elif (count := len(self._put_by)) >= _PUT_BY:
            if count == _PUT_BY:
                # Streams in step reach this all at once: not now, then, but when there is time.
                self._engine.later(self._catch_up)
            elif count >= 4 * _PUT_BY:
                self.parse()  # There was none, and memory must not grow with what a server pours out.
        if self._tls is not None and self._tls.ended and not self.closed:
            self._ended()

    def _read_chunkwise(self, head: int) -> None:
        """Read all that waits, each chunk with its own stamp; first the head of the response, if this is its length."""
        # What an earlier turn left behind was there before this poll: nothing bounds it from below.
        poll_ns = 0 if self._more else self._engine.last_poll_ns
        taken = read_chunkwise(self.sock.recvmsg, _CONTROL_SIZE, _PUT_BY, head, self._left_of)
        self._more = taken.more
        if taken.reads and not taken.ended and taken.broken is None:
            with contextlib.suppress(OSError):
                hold_acks(self.sock)
            self._holds_acks = True
        if taken.reads:
            self.reads += len(taken.reads)
            before = len(self._put_by)
            self._put_by += [(data, stamp, poll_ns) for data, stamp in taken.reads]
            self._put_by_bytes += sum(len(data) for data, _ in taken.reads)
            heavy = self._put_by_bytes > _PUT_BY * _BUFFER_SIZE
            if heavy or any(self._may_end(data) for data, _ in taken.reads):
                self.parse()
            elif before < _PUT_BY <= len(self._put_by):
                self._engine.later(self._catch_up)
        if taken.broken is not None:
            self._lost(f"the connection was reset: {taken.broken.strerror}")
        elif taken.ended:
            self._ended()

    _left_of = staticmethod(left_of_chunk)
    """Of the first bytes of a piece that has a stamp of its own: how many follow."""

    def _first_piece(self) -> int | None:
        """The bytes of the first read where what waits can be read chunk by chunk (0: it is a chunk); None: it cannot."""
        # The first token often comes right behind the head: then a read of its own has it too.
        head = 0 if self._lazy or self.reads else chunked_head(self.sock)
        if not self._lazy and not head:
            return None
        self._lazy = True
        return head

    def _may_end(self, data: bytes) -> bool:
        """Whether the end of a chunked body may be in this read."""
        return data.endswith(_END) or len(data) < 5

    def _announces_chunks(self, data: bytes) -> bool:
        """Whether this read has the whole head of a chunked body: then only its end needs to be looked for.

        A thousand streams in step have their first token in one millisecond, which is no time to parse a thousand heads.
        """
        end = data.find(_END) if self.reads == 1 else -1
        self._lazy = announces_chunks(data, end)
        return self._lazy

    def _catch_up(self) -> None:
        """Make less of what has been put by: a long reply takes its stamps in memory, and not its bytes."""
        job = self.job
        if job is not None:
            self.parse()
            if self.job is job:
                try:
                    job.exchange.digest()
                except Undecodable as e:
                    self.fail(Outcome.MALFORMED, str(e))

    def parse(self) -> None:
        """Look at what has been put by, and end the request where its response has ended."""
        job, parser = self.job, self._parser
        if job is None or parser is None:
            # Bytes that nobody asked for: the connection is of no use any more.
            self._engine.forget_idle(self)
            self.close()
            return
        try:
            self._feed(job, parser)
        except ProtocolError as e:
            self.fail(Outcome.MALFORMED, f"not HTTP: {e}")
        except (HeadTooLarge, Undecodable) as e:
            self.fail(Outcome.MALFORMED, str(e))
        else:
            if parser.complete:
                self._complete(job, parser)

    def _feed(self, job: Job, parser: Parser) -> None:
        exchange, offset_ns = job.exchange, self._engine.offset_ns
        reads, self._put_by = self._put_by, []
        self._put_by_bytes = 0
        self._put = self._put_by.append
        before_ns = exchange.last_read_ns
        for data, raw, poll_ns in reads:
            if parser.complete:
                parser.behind(data)
                continue
            if isinstance(raw, int):
                stamp_ns, exchange.clock = raw, "mixed"
            else:
                seconds, nanoseconds = _STAMP.unpack(raw)
                stamp_ns = seconds * NS_PER_S + nanoseconds - offset_ns
            if exchange.first_byte_ns is None:
                exchange.first_byte_ns = stamp_ns
                before_ns = exchange.sent_ns if exchange.sent_ns is not None else stamp_ns
            if stamp_ns < before_ns:
                # The kernel merges what waits and keeps the latest stamp: the read before took bytes with these bytes' stamp.
                stamp_ns = before_ns
            pieces = parser.feed(data)
            if exchange.status is None and parser.status is not None:
                self._head(job, parser)
            # Not reported by that poll: the bytes came after it, and after those of the read before.
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

    def _bound_memory(self, exchange: Exchange) -> None:
        """Make less of what a server pours out. Raises Undecodable where it is more than a response may be."""
        if exchange.is_heavy:
            exchange.digest()
        if exchange.bytes_received > self._engine.target.max_response_bytes:
            raise Undecodable(
                f"the response is larger than the limit of {self._engine.target.max_response_bytes} bytes"
            )

    def _head(self, job: Job, parser: Parser) -> None:
        assert parser.status is not None
        headers = parser.headers
        location = headers.get(b"location")
        # Only the end of a chunked body can be seen without counting its bytes.
        self._set_lazy(b"chunked" in headers.get(b"transfer-encoding", b"").lower())
        job.exchange.head(
            parser.status,
            headers.get(b"content-type", b"").decode("latin-1"),
            headers.get(b"content-encoding", b"").decode("latin-1"),
            None if location is None else location.decode("latin-1"),
            sized=b"content-length" in headers,
        )

    def _set_lazy(self, lazy: bool) -> None:
        self._lazy = lazy

    def _complete(self, job: Job, parser: Parser) -> None:
        self.job, self._parser = None, None
        parser.close()
        self.pooled = True
        keep = parser.keep_alive and not self._unsent and (self._tls is None or not self._tls.ended)
        if not keep:
            self.close()
        self._engine.served(self, job, keep)

    def _ended(self) -> None:
        """The server has closed its side."""
        job, parser = self.job, self._parser
        if job is None or parser is None:
            self._engine.forget_idle(self)
            self.close()
            return
        if self._holds_reads():
            self.parse()
            if self.job is not job:
                return
        parser.end_of_file()
        if parser.complete:
            parser.keep_alive = False
            self._complete(job, parser)
        elif self.reads:
            self.fail(Outcome.TRUNCATED, "the server closed the connection before the response had ended")
        else:
            self._lost("the server closed the connection before the response had ended")

    def _lost(self, error: str) -> None:
        job = self.job
        if job is None:
            self._engine.forget_idle(self)
            self.close()
        elif not self.reads and self.pooled and job.exchange.attempts == 1:
            # It died while it was idle, and the server had not seen the request: not the fault of either.
            self.close()
            self.job = None
            self._engine.retry(job)
        else:
            self.fail(Outcome.RESET, error)

    def read_out(self) -> None:
        """Take in what has arrived until now, and look at it."""
        job = self.job
        self._arrived(READABLE)
        if job is not None and self.job is job and self._holds_reads():
            self.parse()

    @property
    def put_by(self) -> int:
        """Reads that nobody has looked at."""
        return len(self._put_by)

    def _holds_reads(self) -> bool:
        """Whether something was read and not looked at."""
        return bool(self._put_by)

    def fail(self, outcome: Outcome, error: str | None) -> None:
        """End the request here: close the socket, and make a record of what came until now."""
        job, parser = self.job, self._parser
        assert job is not None
        if parser is not None and self._holds_reads():
            # What came may be unreadable: the request has failed already, and for a better reason.
            with contextlib.suppress(ProtocolError, HeadTooLarge, Undecodable):
                self._feed(job, parser)
        self.job = self._parser = None
        if parser is not None:
            parser.close()
        self.close()
        self._engine.failed(job, outcome, error)

    def close(self) -> None:
        """Close the socket. Safe to call again."""
        if not self.closed:
            self.closed = True
            self._engine.unwatch(self)
            self.sock.close()
