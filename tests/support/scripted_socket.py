"""A connection whose socket has scripted results, and the transport that it tells about them."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from bench.proxy import Proxy
from bench.records import Outcome
from bench.transport.connection import READABLE, WRITABLE, Job
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading, ignore
from bench.transport.polled_connection import PolledConnection
from bench.workload import Request
from tests.support.literal_replies import CHUNKED, chunk, content, frames, head

PLACE = (socket.AF_INET, ("127.0.0.1", 9))
EVENT = chunk(frames(content("a"))[0])
HEAD = head("200 OK", "text/event-stream", CHUNKED)
RESET = "Connection reset by peer"


class Socket:
    """A socket whose calls have these results: bytes, a number, or an error to raise. Without any, it would block."""

    def __init__(self) -> None:
        self.connects, self.error = errno.EINPROGRESS, 0
        self.reads: deque[bytes | Exception] = deque()
        self.sends: deque[int | Exception] = deque()
        self.sent = bytearray()
        self.closed = False

    def fileno(self) -> int:
        return 7

    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, *_: object) -> int:
        return self.error

    def connect_ex(self, where: object) -> int:
        return self.connects

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.reads:
            raise BlockingIOError
        result = self.reads[0] if flags else self.reads.popleft()
        if isinstance(result, Exception):
            raise result
        return result

    recvmsg = None

    def recvmsg_into(self, buffers: Any, size: int) -> tuple[int, list[Any], int, None]:
        data = self.recv(0)
        buffers[0][: len(data)] = data
        return len(data), [], 0, None

    def send(self, data: bytes) -> int:
        result = self.sends.popleft() if self.sends else len(data)
        if isinstance(result, Exception):
            raise result
        self.sent += data[:result]
        return result

    def close(self) -> None:
        self.closed = True


class Engine:
    """A transport that records what its connections tell it. `run` does what was put off."""

    def __init__(self, proxy: Proxy | None = None) -> None:
        self.host, self.port, self.tls, self.replica_headers = "h", 80, None, ()
        self.target = SimpleNamespace(proxy=proxy, method_of=lambda route: "POST", max_response_bytes=1 << 30)
        self.tunnels = proxy is not None
        self.offset_ns = self.last_poll_ns = 0
        self.unhurried = False
        self.told: list[tuple[Any, ...]] = []
        self.watched: tuple[Callable[[int], None], int] | None = None
        self.put_off: list[Callable[[], None]] = []
        self.loop = SimpleNamespace(call_soon=lambda call, *args: self.put_off.append(lambda: call(*args)))

    def run(self) -> None:
        todo, self.put_off = self.put_off, []
        for work in todo:
            work()

    def later(self, work: Callable[[], None]) -> None:
        self.put_off.append(work)

    def watch(self, connection: object, call: Callable[[int], None], events: int) -> None:
        self.watched = call, events

    def unwatch(self, connection: object) -> None:
        self.watched = None

    def ready(self, events: int) -> None:
        assert self.watched is not None
        self.watched[0](events)

    def connected(self, connection: object) -> None:
        self.told.append(("connected",))

    def connect_failed(self, connection: object, error: str) -> None:
        self.told.append(("no connection", error))

    def forget_idle(self, connection: object) -> None:
        self.told.append(("forget",))

    def served(self, connection: object, job: Job, keep: bool) -> None:
        self.told.append(("served", keep))

    def failed(self, job: Job, outcome: Outcome, error: str | None) -> None:
        self.told.append(("failed", outcome, error))

    def retry(self, job: Job) -> None:
        self.told.append(("retry",))

    def forget_name(self, name: int) -> None:
        self.told.append(("forget name",))


def job() -> Job:
    request = Request(id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None)
    return Job(Exchange(request, 0, 0, Reading(), clock="kernel"), lambda record: None, ignore)


def connection(engine: Engine, of: Job | None = None) -> PolledConnection:
    return PolledConnection(cast("Any", engine), PLACE, of)


def opened(engine: Engine, of: Job | None = None) -> PolledConnection:
    made = connection(engine, of)
    engine.ready(WRITABLE)
    assert engine.told.pop() == ("connected",)
    return made


def reading(sock: Socket, *data: bytes) -> tuple[Engine, PolledConnection, Job]:
    """A connection whose request was sent, and which has read these pieces."""
    engine, of = Engine(), job()
    made = opened(engine, of)
    made.send(of, b"a request")
    for piece in data:
        sock.reads.append(piece)
        engine.ready(READABLE)
    return engine, made, of
