"""The server in this very process, from its first connection to its drain: a thread acts as its client and sends
signals."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import orjson
import pytest

from mockserver.cli import main
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.http import listeners, server
from mockserver.http.listeners import close_others, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel stamps what arrives")

ENDLESS = {"prompt": "hello", "max_tokens": 4000, "stream": True}
PLAIN = {"x-mock-ttft": "0ms", "x-mock-tpot": "0ms"}
SLOW = {"x-mock-ttft": "0ms", "x-mock-tpot": "20ms"}


@pytest.fixture
def serves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Serve with these flags while `client` sends requests to a port; the server's changes to its process are undone."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A late signal must do no harm.
    interrupt = signal.getsignal(signal.SIGINT)

    def run(client: Callable[[int], None], *flags: str) -> int:
        opened: list[socket.socket] = []
        failed: list[BaseException] = []

        def asks() -> None:
            try:
                client(opened[0].getsockname()[1])
            except BaseException as e:
                failed.append(e)
            finally:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGTERM)

        def listening(config: MockConfig) -> list[socket.socket]:
            opened.extend(listen(config))
            thread.start()
            return opened

        thread = threading.Thread(target=asks)
        monkeypatch.setattr(server, "listen", listening)
        status = main(["--port", "0", *flags])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is interrupt
        thread.join()
        for e in failed:
            raise e
        return status

    yield run
    signal.signal(signal.SIGTERM, before)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def ask(port: int, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET" if body is None else "POST", path, None if body is None else orjson.dumps(body), headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, dict(reply.getheaders()), orjson.loads(data) if data[:1] in (b"{", b"[") else data


def test_it_says_where_stamps_what_arrives_by_the_kernel_and_ends_at_a_signal(
    serves: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    at: list[int] = []

    def client(port: int) -> None:
        at.append(port)
        # The kernel begins to stamp a moment after the machine's first socket has requested it.
        while not (before := ask(port, "/truth")[2]["arrival_clock"])["kernel"]:
            ask(port, "/v1/completions", {**ENDLESS, "max_tokens": 1}, **PLAIN)
        status, _, data = ask(port, "/v1/completions", {**ENDLESS, "max_tokens": 3}, **PLAIN)
        assert (status, data.count(b"data: ")) == (200, 4)
        with socket.create_connection(("127.0.0.1", port)) as pieces:  # The stamp belongs to the last byte.
            body = orjson.dumps({"prompt": "x", "max_tokens": 1})
            head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            pieces.sendall(head + body[:5])
            assert ask(port, "/health")[0] == 200
            pieces.sendall(body[5:])
            assert pieces.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        truth = ask(port, "/truth")[2]
        assert truth["arrival_clock"] == {**before, "kernel": before["kernel"] + 2}

    assert serves(client, "--ttft", "0ms") == 0
    assert capfd.readouterr().out == f"mockserver ready at http://127.0.0.1:{at[0]}\n"
    assert gc.get_threshold() == (20_000, 20, 50)
    with pytest.raises(ConnectionRefusedError):
        ask(at[0], "/health")


def test_a_first_signal_drains_and_a_second_one_cuts(serves: Callable[..., int]) -> None:
    def client(port: int) -> None:
        stream = HTTPConnection("127.0.0.1", port)
        stream.request("POST", "/v1/completions", orjson.dumps(ENDLESS), SLOW)
        reply = stream.getresponse()
        assert reply.readline().startswith(b"data: ")
        os.kill(os.getpid(), signal.SIGTERM)
        while (health := ask(port, "/health"))[0] == 200:  # The signal may still be on its way.
            pass
        assert health[0] == 503
        status, _, body = ask(port, "/v1/completions", ENDLESS)
        assert (status, "shutting down" in body["error"]["message"]) == (503, True)
        assert b"data: " in reply.readline() + reply.readline() + reply.readline()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(IncompleteRead):
            reply.read()
        stream.close()
        reply.close()

    assert serves(client, "--drain-s", "1000") == 0


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    (taken,) = listen(MockConfig(port=0))
    port = taken.getsockname()[1]
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert taken.getsockopt(socket.SOL_SOCKET, listeners.SO_TIMESTAMPNS)
    hint = f"{os.strerror(errno.EADDRINUSE)}; another program uses this port: stop it, or give another --port (0 takes"
    for workers in (1, 2):
        with pytest.raises(UsageError) as refused:
            listen(MockConfig(port=port, workers=workers))
        assert f"--host 127.0.0.1 --port {port}: cannot listen: {hint} a free one)" in str(refused.value)
    taken.close()
    with pytest.raises(UsageError) as refused:
        listen(MockConfig(host="192.0.2.7", port=0))
    assert str(refused.value).endswith(f"cannot listen: {os.strerror(errno.EADDRNOTAVAIL)}")


def test_workers_share_one_port_and_each_keeps_its_listener() -> None:
    opened = listen(MockConfig(port=0, workers=3))
    assert len({listener.getsockname()[1] for listener in opened}) == 1
    assert len(opened) == 3
    close_others(opened, 1)
    assert [listener.fileno() >= 0 for listener in opened] == [False, True, False]
    opened[1].close()


def test_replicas_are_served_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    served: list[MockConfig] = []
    monkeypatch.setattr(server, "_serve_replicas", served.append)
    assert main(["--replicas", "2"]) == 0
    assert [config.replicas for config in served] == [2]


@pytest.mark.parametrize(
    ("host", "port", "address"), [("127.0.0.1", 80, "http://127.0.0.1:80"), ("::1", 81, "http://[::1]:81")]
)
def test_an_address_of_ipv6_is_in_brackets(host: str, port: int, address: str) -> None:
    class Listener:
        def getsockname(self) -> tuple[str, int, int, int]:
            return host, port, 0, 0

    assert server._address(Listener()) == address  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("platform", "workers", "begins"),
    [("linux", 1, True), ("linux", 2, True), ("darwin", 1, True), ("darwin", 2, False)],
)
def test_only_several_workers_need_linux(
    monkeypatch: pytest.MonkeyPatch, platform: str, workers: int, begins: bool
) -> None:
    class Begun(Exception):
        pass

    def make_resources(config: MockConfig) -> None:
        raise Begun

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setattr(server, "make_resources", make_resources)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(Begun if begins else UsageError) as ended:
        server.serve(MockConfig(port=0, workers=workers))
    assert begins or str(ended.value).startswith("--workers: more than 1 works only on Linux")
