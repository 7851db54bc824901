"""The mock's server in this process: it says where it is, stamps arrivals, drains, and refuses connections as faults say."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mockserver.cli import main, read_arguments
from mockserver.errors import UsageError
from mockserver.http.app import create_app
from mockserver.http.connection_faults import ConnectionFaults
from mockserver.http.listeners import listen, listener_on
from tests.support.patience import PATIENCE_S
from tests.support.raw_mock import CHAT, MS, chat, connect, read_until, request

READY = "mockserver ready at "
HOUR = ("--ttft", "3600s", "--drain-s", "600")
END = b"0\r\n\r\n"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a server sets for its process."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    sys.setswitchinterval(interval)


class Printed(io.StringIO):
    """Standard output, which says when a server is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if "\n" in text:
            self.ready.set()
        return written


class Server:
    """A server that runs in the main thread. `stop` sends it a signal."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stopped = False

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.stopped = True
        os.kill(os.getpid(), number)

    def connect(self) -> socket.socket:
        return connect(SimpleNamespace(url=self.url))  # type: ignore[arg-type]

    def until_drained(self) -> None:
        """Return once health checks get a 503."""
        while httpx.get(f"{self.url}/health").status_code != 503:
            pass


def served(call: Callable[[Server], None], *flags: str) -> str:
    """What a server prints that serves while `call` runs, which may stop it."""
    printed, failures = Printed(), list[BaseException]()

    def client() -> None:
        printed.ready.wait(PATIENCE_S)
        if not printed.getvalue().startswith(READY):
            return
        server = Server(printed.getvalue().split()[-1])
        try:
            call(server)
        except BaseException as e:
            failures.append(e)
        finally:
            if not server.stopped:
                server.stop()

    thread = threading.Thread(target=client)
    with contextlib.redirect_stdout(printed):
        thread.start()
        try:
            status = main(["--port", "0", "--cpu-priority", "normal", *flags])
        finally:
            printed.ready.set()
            thread.join(PATIENCE_S)
    if failures:
        raise failures[0]
    assert status == 0
    return printed.getvalue()


def post(server: Server, **more: Any) -> int:
    return httpx.post(server.url + CHAT, json=chat(**more)).status_code


def test_it_says_where_it_is_serves_and_is_gone_after_a_signal() -> None:
    urls = []

    def call(server: Server) -> None:
        urls.append(server.url)
        clock = {"kernel": 0, "user": 0}
        # The kernel begins to stamp a moment after it is asked to, for all of the machine.
        while not clock["kernel" if sys.platform == "linux" else "user"]:
            assert post(server) == 200
            clock = httpx.get(f"{server.url}/truth").json()["arrival_clock"]
        with server.connect() as sock:
            whole = request(CHAT, chat(padding="x" * 200_000), x_request_id="one-1")
            for piece in (whole[:100], whole[100:-1], whole[-1:]):
                began_ns = time.monotonic_ns()
                sock.sendall(piece)
            assert read_until(sock, END).endswith(END)
        line = next(line for line in map(json.loads, httpx.get(f"{server.url}/ledger").text.splitlines()) if line["id"])
        assert line["received_ns"] >= began_ns - MS // 10  # It arrived with its last byte.
        if sys.platform == "linux":
            after = httpx.get(f"{server.url}/truth").json()["arrival_clock"]
            assert after == {"kernel": clock["kernel"] + 1, "user": clock["user"]}

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert served(call, "--ttft", "0ms", "--tpot", "0ms") == f"{READY}{urls[0]}\n"
    assert urls[0].startswith("http://127.0.0.1:")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_ends_and_what_comes_later_gets_a_503(number: int, tmp_path: Path) -> None:
    def call(server: Server) -> None:
        with server.connect() as sock:
            sock.sendall(request(CHAT, chat(), x_request_id="drain-1"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            server.stop(number)
            assert read_until(sock, END).endswith(END)

    ledger = tmp_path / "ledger.jsonl"
    served(call, "--ttft", "200ms", "--tpot", "1ms", "--drain-s", "600", "--ledger", str(ledger))
    (line,) = map(json.loads, ledger.read_text().splitlines())
    assert (line["chunk_kind"], "cut" in line["engine"]) == ("rccccco", False)


@pytest.mark.parametrize("twice", [True, False])
def test_a_second_signal_or_the_end_of_the_time_cuts_what_is_in_flight(twice: bool, tmp_path: Path) -> None:
    def call(server: Server) -> None:
        with server.connect() as sock:
            sock.sendall(request(CHAT, chat(), x_request_id="drain-1"))
            head = sock.recv(65536)
            assert head.startswith(b"HTTP/1.1 200")
            server.stop()
            if twice:
                server.until_drained()
                assert post(server) == 503
                server.stop()
            assert END not in head + read_until(sock, END)

    ledger = tmp_path / "ledger.jsonl"
    served(call, *HOUR, *(() if twice else ("--drain-s", "0.2")), "--ledger", str(ledger))
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert next(line for line in lines if line["id"] == "drain-1")["engine"]["cut"] == "shutdown"


def is_refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionError:  # Also reset: it waited in the queue of a socket that was closed.
        return True
    return False


def test_connections_are_refused_after_so_many_requests_and_idle_ones_closed() -> None:
    def call(server: Server) -> None:
        with server.connect() as idle:
            idle.sendall(request(CHAT, chat()))
            assert read_until(idle, END).endswith(END)
            while not is_refused(server):
                pass
            with contextlib.suppress(ConnectionResetError):
                assert idle.recv(1) == b""

    served(call, "--ttft", "0ms", "--tpot", "0ms", "--fault", "refuse:skip=1")


def test_connections_are_taken_again_when_the_fault_is_over() -> None:
    def call(server: Server) -> None:
        began_ns = time.monotonic_ns()
        while not is_refused(server) and time.monotonic_ns() - began_ns < 2_000 * MS:
            pass
        while is_refused(server):
            pass
        while time.monotonic_ns() - began_ns < 700 * MS:  # Whatever is refused until then.
            is_refused(server)
        while is_refused(server):
            pass
        assert post(server) == 200

    served(call, "--ttft", "0ms", "--tpot", "0ms", "--fault", "refuse:until=700ms")


def test_a_slow_accept_delays_the_first_read_of_a_connection() -> None:
    def call(server: Server) -> None:
        began_ns = time.monotonic_ns()
        assert post(server) == 200
        assert time.monotonic_ns() - began_ns >= 150 * MS

    served(call, "--ttft", "0ms", "--tpot", "0ms", "--fault", "429:index=1", "--fault", "slow_accept:for=150ms")


def held_ms(*faults: str) -> list[float]:
    """How long each of 200 connections waits for its first read."""

    async def main() -> list[float]:
        app = create_app(read_arguments(["--seed", "3", *(word for fault in faults for word in ("--fault", fault))]))
        async with app.router.lifespan_context(app):
            connections = ConnectionFaults(app)
            assert not connections.refuses()
            return [connections.hold_ns() / MS for _ in range(200)]

    return asyncio.run(main())


def test_a_slow_accept_holds_the_connections_that_its_rule_selects() -> None:
    assert held_ms() == held_ms("429") == held_ms("slow_accept:rate=0") == [0] * 200
    assert held_ms("429", "slow_accept:for=150ms") == [150] * 200
    assert held_ms("slow_accept:for=150ms,index=3") == [150 * (number == 3) for number in range(200)]
    some = held_ms("slow_accept:for=150ms,rate=0.25", "slow_accept:for=20ms,rate=0.5")
    # The first rule that hits holds: a quarter by the first, half of the others by the second.
    assert set(some) == {0, 20, 150}
    assert 30 <= some.count(150) <= 70
    assert 50 <= some.count(20) <= 100


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_ipv6_is_printed_with_brackets() -> None:
    urls = []
    said = served(lambda server: urls.append(server.url), "--host", "::1")
    assert said == f"{READY}{urls[0]}\n"
    assert urls[0].startswith("http://[::1]:")


def test_a_port_in_use_is_wrong_usage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as refused:
            listen(read_arguments(["--port", str(port)]))
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            listener_on("127.0.0.1", port)
    assert str(refused.value) == (
        f"--host 127.0.0.1 --port {port}: cannot listen: Address already in use; another program uses this port: stop it, or "
        "give another --port (0 takes a free one)"
    )


@pytest.mark.parametrize("host", ["x" * 70 + ".example", "192.0.2.1"])
def test_an_address_that_is_not_here_is_wrong_usage(host: str) -> None:
    with pytest.raises(UsageError) as refused:
        listen(read_arguments(["--host", host, "--port", "0"]))
    assert str(refused.value).startswith(f"--host {host} --port 0: cannot listen: ")
    assert "another program" not in str(refused.value)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are Linux's")
def test_workers_listen_on_one_port_each_with_its_own_socket() -> None:
    listeners = listen(read_arguments(["--port", "0", "--workers", "3"]))
    with contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.callback(listener.close)
        assert len({listener.getsockname() for listener in listeners}) == 1
        assert len({listener.fileno() for listener in listeners}) == 3
        port = listeners[0].getsockname()[1]
        assert port != 0
        for listener in listeners:
            assert listener.getsockopt(socket.SOL_SOCKET, 35) == 1  # SO_TIMESTAMPNS
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        # Another mock with workers would share it.
        with pytest.raises(UsageError, match="another program uses this port"):
            listen(read_arguments(["--port", str(port), "--workers", "2"]))
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    (only,) = listen(read_arguments(["--port", str(port)]))
    with only:
        assert only.getsockname() == ("127.0.0.1", port)
