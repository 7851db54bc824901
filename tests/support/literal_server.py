"""A loopback server that answers with literal bytes from a script: everything that real servers do wrong, on purpose.

    with LiteralServer(in_turn(reply_a, reply_b)) as server: ...

A script is a function from the request to the steps of its reply. It runs in threads of the test's own process, one per
connection, and records what it received and the instants around every write (CLOCK_MONOTONIC, ns), to compare stamps
with. Nothing here parses or makes HTTP bodies; `literal_replies` has the bytes.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.patience import PATIENCE_S

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Certificate (self-signed, for localhost, until 2126) and key, made for these tests and used nowhere else."""


_ESTABLISHED = "01"
"""A state in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Send:
    """Hand these bytes to the kernel in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for this long, like a slow server."""

    s: float


@dataclass(frozen=True, slots=True)
class Until:
    """Send nothing until this is true (until an event is set, for example)."""

    what: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class UntilRead:
    """Send nothing until the client has read everything sent so far."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close cleanly (FIN), whatever the head announced."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection (RST)."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more until the client closes the connection."""


Step = Send | Pause | Until | UntilRead | Close | Reset | Hang


@dataclass(slots=True)
class Received:
    """A request as received, and the instants of the writes in reply: before and after each `Send`."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writes: list[tuple[int, int]] = field(default_factory=list)
    client_gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed the connection during `Hang`, or before a `Send`, which then fails."""


Responder = Callable[[Received], Sequence[Step]]


def in_turn(*replies: Sequence[Step]) -> Responder:
    """The first request gets the first reply, and so on; all later requests get the last one."""
    given = iter(range(1 << 30))
    lock = threading.Lock()

    def script(request: Received) -> Sequence[Step]:
        with lock:
            return replies[min(next(given), len(replies) - 1)]

    return script


def one_byte_a_write(data: bytes) -> list[Step]:
    return [Send(data[i : i + 1]) for i in range(len(data))]


class LiteralServer:
    """Listens on a free port inside its `with` block. `received` has every request, in order of arrival."""

    def __init__(
        self,
        script: Responder,
        *,
        tls: bool = False,
        handshake_pause_s: float = 0.0,
        handshake_when: Callable[[], bool] = lambda: True,
        host: str = "127.0.0.1",
        client_ca: Path | None = None,
    ) -> None:
        """With TLS, a handshake waits this long, and until the condition is true. `client_ca`: clients must present a
        certificate of this authority."""
        self._script = script
        self._handshake_when = handshake_when
        self._handshake_pause_s = handshake_pause_s
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
            if client_ca is not None:
                self._tls.verify_mode = ssl.CERT_REQUIRED
                self._tls.load_verify_locations(client_ca)
        self._host = host
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.received: list[Received] = []
        self.connections = 0
        self.url = ""

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listening = socket.create_server((self._host, 0), family=family, backlog=1024)
        scheme, port = "http" if self._tls is None else "https", self._listening.getsockname()[1]
        self.url = f"{scheme}://[{self._host}]:{port}" if ":" in self._host else f"{scheme}://{self._host}:{port}"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()
        self._acceptor.join()
        self._listening.close()
        self.die()  # A connection may have been accepted meanwhile.
        for thread in self._threads:
            thread.join()

    def die(self) -> None:
        """Stop listening and close every connection, like a killed process. A script can call this at a certain
        request."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    # SSLSocket.shutdown would also end TLS, and later encrypted bytes would look like a request.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def all_are_closed(self) -> bool:
        """Whether the server has closed every accepted connection, and the clients' kernels know (Linux)."""
        with self._lock:
            closed = not self._sockets
        return closed and all(row[3] != _ESTABLISHED for row in self._rows())

    def all_is_read(self) -> bool:
        """Whether the clients have read everything sent from the kernel (Linux; unknown elsewhere)."""
        # Twice: bytes that left one queue after its line may have reached the other behind its own.
        return all(sending == received == 0 for _ in range(2) for sending, received in self._queues())

    def all_is_acknowledged(self) -> bool:
        """Whether the clients' kernels have acknowledged everything sent (Linux, as above)."""
        return all(sending == 0 for sending, _ in self._queues())

    def _queues(self) -> list[tuple[int, int]]:
        """For each end of each connection, the unacknowledged and the unread bytes."""
        queues = [row[4].split(":") for row in self._rows()]
        return [(int(sending, 16), int(received, 16)) for sending, received in queues]

    def _rows(self) -> list[list[str]]:
        """The kernel's lines about each end of each connection."""
        connections = Path("/proc/net/tcp")
        if not connections.exists():
            return []
        port = f":{self._listening.getsockname()[1]:04X}"
        rows = [line.split() for line in connections.read_text().splitlines()[1:]]
        return [row for row in rows if row[1].endswith(port) or row[2].endswith(port)]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping.is_set():  # It was accepted as the server died.
                    connection.close()
                    return
                self._sockets.add(connection)
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection, self.connections))
                self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        connection = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._stopping.wait(self._handshake_pause_s)
                self._wait(self._handshake_when)
                connection = self._tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._sockets.discard(raw)
                    self._sockets.add(connection)
                    if self._stopping.is_set():  # While it was in no socket that `die` could shut down.
                        return
                try:
                    connection.do_handshake()
                except ssl.SSLError:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # Unread data would cause a reset, and the alert would be lost.
                        pass
                    raise
            for request in _requests(connection, number):
                with self._lock:
                    self.received.append(request)
                try:
                    for step in self._script(request):
                        if not self._do(step, connection, request):
                            return
                except OSError:
                    request.client_gone.set()
                    raise
        except OSError:
            pass  # The client may close its connection at any time.
        finally:
            with self._lock:
                self._sockets.discard(connection)
                connection.close()

    def _wait(self, what: Callable[[], bool]) -> bool:
        """Wait; returns whether the condition became true."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            if self._stopping.wait(0.001) or time.monotonic() > deadline:
                return False
        return True

    def _do(self, step: Step, connection: socket.socket, request: Received) -> bool:
        """Do a step; returns whether the connection stays open."""
        match step:
            case Send(data):
                before = time.monotonic_ns()
                connection.sendall(data)
                request.writes.append((before, time.monotonic_ns()))
            case Pause(s):
                self._stopping.wait(s)
            case Until(what):
                return self._wait(what)
            case UntilRead():
                return self._wait(self.all_is_read)
            case Hang():
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(65536):
                        pass
                request.client_gone.set()
                return False
            case Close():
                return False
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
        return True


def _requests(connection: socket.socket, number: int) -> Iterator[Received]:
    """The requests of one connection, with bodies by content-length."""
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            piece = connection.recv(65536)
            if not piece:
                return
            pending += piece
        head, _, pending = pending.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(pending) < length:
            piece = connection.recv(65536)
            if not piece:
                return
            pending += piece
        body, pending = pending[:length], pending[length:]
        method, path, _ = first.split(" ")
        yield Received(number, method, path, headers, body)


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a loopback port that answers no SYN, because its connection queue is full and no program accepts."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listening.getsockname()
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # Most of these connections never get an answer.
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a loopback port where nothing listens, which stays reserved."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
