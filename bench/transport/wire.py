"""The transport over our own sockets: as close to the kernel as Python gets, and the default on Linux.

All sockets of the process are in one epoll set inside the event loop. That set is polled in one place (`_pump`), so
that each read knows the last poll that did not report its socket: the data of the read came after it. Reads carry the
kernel's receive stamps, which are right however late the program reads them, except for packets that had to wait for an
earlier one which the network had lost or delayed: those reads are stamped here. The kernel's stamps are CLOCK_REALTIME
and are converted to CLOCK_MONOTONIC by one tightly bracketed offset, measured again when the clock is stepped.

Connections are made before the run, kept as long as the server keeps them, and checked before they are reused. If one
dies after the send and before any byte of a response, the request gets a second attempt, on a fresh connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench import clock as clocks
from bench.clock import NS_PER_MS, Clock, LoopClock, StepWatch, now_ns
from bench.native import core, receivers
from bench.records import Outcome
from bench.transport import tls
from bench.transport.connection import Address, Connection, Job
from bench.transport.exchange import Exchange
from bench.transport.interface import Destination, OnEnd, OnRecord, Reading, ReplyInFlight, Target, ignore
from bench.transport.overdue import NO_CONNECTION, Sweep
from bench.transport.polled_connection import PolledConnection
from bench.transport.received_connection import ReceivedConnection
from bench.transport.stamping import asking_socket, stamps_begun
from bench.transport.work_queue import WorkQueue
from bench.workload import Request, Route

if TYPE_CHECKING:
    from bench.native._core import Receiver, Stream

CONNECT_AT_ONCE = 128
"""Connections that are made in parallel: a server's backlog is often no longer."""

MOST_HEADS = 4096
"""How many heads are cached for requests with their own headers or endpoint."""

POLL_MAX = 512
READS_AT_ONCE = 16
"""After this many reads, check whether something must be sent."""
UNHURRIED_NS, FEW = NS_PER_MS // 4, 2
"""If so few sockets are ready after such a pause, there is time to read the data chunk by chunk."""


class WireTransport:
    """Own sockets, kernel stamps, HTTP/1.1. See the module docstring."""

    reads_plainly = True
    """Whether the data is plain HTTP, which the compiled receiver can read."""

    def __init__(self, target: Target, reading: Reading, clock: Clock) -> None:
        target = target.without_credentials()
        self.target = target
        self.reading = reading
        self._clock = clock
        parts = urlsplit(target.url)
        self.host = parts.hostname or ""
        self.port = parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80)
        self.tunnels = target.proxy is not None and (parts.scheme == "https" or target.websocket)
        self.tls: ssl.SSLContext | None = tls.context(target) if parts.scheme == "https" else None
        self.replica_headers = tuple(name.lower().encode() for name in reading.replica_headers)
        self._head = self._request_head(target.usual)
        # A proxy may look only for the usual spelling, and otherwise add a second length (proxy.py 2.4).
        self._length = b"content-length" if target.proxy is None else b"Content-Length"
        self._heads: dict[Route, bytes] = {}
        """For requests with their own destination."""
        self._addresses: list[Address] = []
        self._answers = False
        """Whether the first of the addresses has ever accepted a connection."""
        self._unresolved: str | None = None
        self._idle: dict[int, Connection] = {}
        self._jobs: dict[Job, None] = {}
        self._ahead: dict[Connection, asyncio.Future[bool]] = {}
        self._ready_calls: dict[int, Callable[[int], None]] = {}
        self._receiver: Receiver | None = None
        """Reads in a separate thread, if the compiled core is available and nothing is encrypted."""
        self._received: dict[int, ReceivedConnection] = {}
        self._asked: deque[int] = deque()
        self.last_poll_ns = 0
        self.unhurried = False
        self.offset_ns = 0
        self._work = WorkQueue(clock)
        self.later = self._work.later
        self._sweep: Sweep | None = None
        self._watch: StepWatch | None = None

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self.loop.add_reader(self._poll.fileno(), self._pump)
        self._stamping = asking_socket()
        await stamps_begun(self._stamping, LoopClock())
        if core is not None and self.reads_plainly and self.tls is None:
            self._receiver = core.Receiver()
            receivers.append(self._receiver)
            self.loop.add_reader(self._receiver.fileno(), self._attend)
        self.offset_ns = clocks.realtime_offset_ns()
        self._watch = StepWatch(self._clock_stepped)
        proxy = self.target.proxy
        host, port = (self.host, self.port) if proxy is None else (proxy.host, proxy.port)
        try:
            where = host if proxy is not None or self.target.address is None else self.target.address
            addresses = await self.loop.getaddrinfo(where, port, type=socket.SOCK_STREAM)
            self._addresses = [(socket.AddressFamily(family), place) for family, _, _, _, place in addresses]
        except OSError as e:
            why = f"the name {host} is not known ({e.strerror})"
            self._unresolved = why if proxy is None else proxy.failed(why)
        self._sweep = Sweep(self.target, self._clock, self._jobs, self._end, self._ahead, self._give_up)

    async def prepare(self, connections: int) -> None:
        """Make connections until this many are idle. If one fails, the request that needs it makes it again."""
        missing = connections - len(self._idle)
        while missing > 0 and self._addresses:
            address = self._addresses[0]
            wanted = min(missing, CONNECT_AT_ONCE)
            batch: list[asyncio.Future[bool]] = []
            # If descriptors run out, the request that needs one will report it.
            with contextlib.suppress(OSError):
                for _ in range(wanted):
                    made = self.loop.create_future()
                    self._ahead[self._new_connection(address, None)] = made
                    batch.append(made)
            made_ahead = sum(await asyncio.gather(*batch))
            if made_ahead < wanted and self._addresses[0] == address:
                return
            missing -= made_ahead

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        exchange = Exchange(request, intended_ns, eligible_ns, self.reading, clock="kernel")
        job = Job(exchange, done, ended)
        self._jobs[job] = None
        connection = self._take_idle(request)
        if connection is not None:
            exchange.connect_ns = 0
            self._send(job, connection)
        else:
            self._connect(job)

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        unread = [
            job
            for job in self._jobs
            if job.connection is not None and (job.connection.put_by or job.exchange.has_undigested)
        ]

        def read_next() -> None:
            # One at a time: anything due comes in between.
            while unread:
                job = unread.pop()
                if job in self._jobs and job.connection is not None:
                    job.connection.catch_up()
                    break
            if unread:
                self.later(read_next)
            else:
                then(job.exchange for job in self._jobs)

        self.later(read_next)

    def cut(self) -> None:
        for job in list(self._jobs):
            self._end(job, Outcome.INTERRUPTED, "cut when the run was stopped")

    async def close(self) -> None:
        self.cut()
        self._work.finish()
        for connection in [*self._idle.values(), *self._ahead]:
            connection.close()
        self._idle.clear()
        self._ahead.clear()
        if self._sweep is not None:
            self._sweep.close()
        if self._watch is not None:
            self._watch.close()
            self._stamping.close()
            if self._receiver is not None:
                self.loop.remove_reader(self._receiver.fileno())
                self._receiver.close()
                receivers.remove(self._receiver)
                self._receiver = None
            self.loop.remove_reader(self._poll.fileno())
            self._poll.close()

    # The epoll set.

    def watch(self, connection: Connection, call: Callable[[int], None], events: int) -> None:
        """Call this when the connection's socket is ready for these events."""
        if connection.fd in self._ready_calls:
            self._poll.modify(connection.fd, events)
        else:
            self._poll.register(connection.fd, events)
        self._ready_calls[connection.fd] = call

    def unwatch(self, connection: Connection) -> None:
        if self._ready_calls.pop(connection.fd, None) is not None:
            self._poll.unregister(connection.fd)

    def _pump(self) -> None:
        polled_ns = now_ns()
        ready = self._ready_calls
        reported = self._poll.poll(0, POLL_MAX)
        # If many are ready after a pause, it was not idle time: the process was delayed, and has to catch up.
        self.unhurried = len(reported) <= FEW and polled_ns - self.last_poll_ns > UNHURRIED_NS
        for start in range(0, len(reported), READS_AT_ONCE):
            if start and (due_ns := self._clock.next_ns()) is not None and due_ns <= now_ns():
                return  # Stamps can wait, a send cannot. The next poll reports the rest: this one bounds nothing.
            for fd, events in reported[start : start + READS_AT_ONCE]:
                call = ready.get(fd)
                if call is not None:  # It may have been closed by an earlier call of this batch.
                    call(events)
        if len(reported) < POLL_MAX:
            self.last_poll_ns = polled_ns  # A full report may have left ready sockets out: it bounds nothing.

    # The receiver.

    def receive(self, connection: ReceivedConnection, patient: bool) -> Stream:
        """Have a connection's socket read from now on."""
        assert self._receiver is not None
        self._received[connection.name] = connection
        return self._receiver.watch(connection.fd, connection.name, patient)

    def forget_name(self, name: int) -> None:
        """A connection is no longer read."""
        self._received.pop(name, None)

    def _attend(self) -> None:
        """Handle the connections that the receiver reports, a few at a time: stamps can wait, a send cannot."""
        assert self._receiver is not None
        asked = self._asked
        asked.extend(self._receiver.asked())
        left = READS_AT_ONCE
        while asked:
            if left == 0:
                if (due_ns := self._clock.next_ns()) is not None and due_ns <= now_ns():
                    self.loop.call_soon(self._attend)
                    return
                left = READS_AT_ONCE
            left -= 1
            name = asked.popleft()
            connection = self._received.get(name >> 2)
            if connection is not None:
                connection.attend(name & 3)

    # Reports of connections.

    def connected(self, connection: Connection) -> None:
        self._answers = self._answers or connection.address == self._addresses[0]
        made = self._ahead.pop(connection, None)
        if made is not None and not made.done():
            made.set_result(True)
        job = connection.job
        if job is None:
            self._idle[connection.fd] = connection
            return
        job.exchange.mark_connected(now_ns() - connection.began_ns)
        self._send(job, connection)

    def connect_failed(self, connection: Connection, error: str, outcome: Outcome = Outcome.CONNECT_ERROR) -> None:
        # For a name with several addresses: go on without one that refuses, or has never answered. One that has
        # answered, and now does not in time, is busy: its users meet the same.
        silent_now = outcome is Outcome.TIMEOUT_CONNECT and self._answers
        if len(self._addresses) > 1 and connection.address == self._addresses[0] and not silent_now:
            del self._addresses[0]
            self._answers = False
        made = self._ahead.pop(connection, None)
        if made is not None and not made.done():
            made.set_result(False)
        job = connection.job
        connection.job = None
        if job is None or job not in self._jobs:
            return
        if connection.address != self._addresses[0]:
            self._connect(job)
            return
        self.failed(job, outcome, error)

    def _give_up(self, connection: Connection) -> None:
        """A connection was not established in time."""
        connection.close()
        outcome, error = NO_CONNECTION
        self.connect_failed(connection, error, outcome)

    def forget_idle(self, connection: Connection) -> None:
        """The server closed an idle connection: it is not used again."""
        self._idle.pop(connection.fd, None)

    def served(self, connection: Connection, job: Job, keep: bool) -> None:
        if keep:
            self._idle[connection.fd] = connection
        self._conclude(job, job.exchange.last_read_ns, None, None)

    def failed(self, job: Job, outcome: Outcome, error: str | None) -> None:
        self._conclude(job, now_ns(), outcome, error)

    def _conclude(self, job: Job, end_ns: int, failed: Outcome | None, error: str | None) -> None:
        """Free the slot now, and make the record when there is time."""
        del self._jobs[job]
        job.connection = None
        if job.leaves is not None:
            job.leaves.cancel()
        job.ended(end_ns, job.exchange.is_whole(failed))
        self.later(lambda: job.done(job.exchange.close(end_ns, failed, error)))

    def retry(self, job: Job) -> None:
        """A pooled connection died before any byte of a response: retry on a fresh one."""
        job.exchange.retry()
        self._connect(job)

    # Requests.

    def _new_connection(self, address: Address, job: Job | None) -> Connection:
        kind = PolledConnection if self._receiver is None else ReceivedConnection
        return kind(self, address, job)

    def _take_idle(self, request: Request) -> Connection | None:
        while self._idle:
            _, connection = self._idle.popitem()
            if connection.alive():
                return connection
            connection.close()
        return None

    def _connect(self, job: Job) -> None:
        job.connection = None
        try:
            if self._addresses:
                job.connection = self._new_connection(self._addresses[0], job)
                return
            problem = self._unresolved if self._unresolved is not None else "the name has no address"
        except OSError as e:
            problem = f"no socket for another connection: {e.strerror}"
        self.loop.call_soon(self._end, job, Outcome.CONNECT_ERROR, problem)

    def _send(self, job: Job, connection: Connection) -> None:
        job.connection = connection
        request = job.exchange.request
        ids = request.id if request.traceparent is None else f"{request.id}\r\ntraceparent: {request.traceparent}"
        payload = b"%b%b\r\n%b: %d\r\n\r\n%b" % (
            self._head if request.route is None else self._head_of(request.route),
            ids.encode(),
            self._length,
            len(request.body),
            request.body,
        )
        connection.send(job, payload)
        self._leave_in_time(job)

    def _leave_in_time(self, job: Job) -> None:
        request = job.exchange.request
        # A second attempt does not set it again: the user has waited since the first.
        if request.cancel_after_ns is not None and job.exchange.sent_ns is not None and job.leaves is None:
            job.leaves = self._clock.call_at(job.exchange.sent_ns + request.cancel_after_ns, lambda: self._leave(job))

    def _leave(self, job: Job) -> None:
        """Its user gives up: data that has arrived so far is still read, and a reply that it completes counts normally."""
        connection = job.connection
        if job in self._jobs and connection is not None and connection.job is job and connection.connected:
            connection.read_out()
        self._end(job, Outcome.CANCELLED, None)

    def _head_of(self, route: Route) -> bytes:
        head = self._heads.get(route)
        if head is None:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()  # If every request has its own headers, caching gains nothing.
            head = self._heads[route] = self._request_head(self.target.destination(route))
        return head

    def _end(self, job: Job, outcome: Outcome, error: str | None) -> None:
        if job not in self._jobs:
            return
        connection = job.connection
        if connection is not None and outcome is Outcome.TIMEOUT_CONNECT:
            self._give_up(connection)
            return
        if connection is not None and connection.job is job and connection.connected:
            connection.fail(outcome, error)
            return
        if connection is not None:
            connection.job = None
            connection.close()
        self.failed(job, outcome, error)

    def _request_head(self, to: Destination) -> bytes:
        """The head of every request to this destination, up to the value of its id."""
        parts = urlsplit(to.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        proxy = None if self.tunnels else self.target.proxy
        fields = {
            "host": parts.netloc,
            "user-agent": "trueload",
            "accept": "*/*",
            "accept-encoding": "identity",
            **({"content-type": "application/json"} if to.has_body else {}),
            **({} if proxy is None else dict(proxy.headers)),
            **{name.lower(): value for name, value in to.headers},
        }
        where = path if proxy is None else f"{parts.scheme}://{parts.netloc}{path}"
        lines = [f"{to.method} {where} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "x-request-id: "]).encode("latin-1")

    # Periodic work.

    def _clock_stepped(self) -> None:
        """CLOCK_REALTIME was set: earlier stamps keep the old offset, and requests in progress are marked."""
        for job in list(self._jobs):
            job.exchange.clock = "mixed"
            if job.connection is not None and job.connection.connected and job.connection.job is job:
                job.connection.parse()
        self.offset_ns = clocks.realtime_offset_ns()
