"""Pages beside the load: how they are requested, and when that is given up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from types import SimpleNamespace
from typing import Any

import pytest

from bench.proxy import Proxy
from bench.target.page_connection import MOST_BYTES, NoPage, PageConnection

PAGE = b"up 1\n"


class Asked:
    """A connection that answers as told, and counts."""

    sock: object = "open"

    def __init__(self, *answers: Exception | tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[object, ...]] = []
        self.closed = 0

    def request(self, *of: object, **more: object) -> None:
        self.requests.append((*of, more["headers"]))

    def getresponse(self) -> SimpleNamespace:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return SimpleNamespace(
            status=status, read=lambda most: content[:most], isclosed=lambda: len(content) <= MOST_BYTES
        )

    def close(self) -> None:
        self.closed += 1


def connection_to(url: str = "http://h:1/metrics", address: str | None = None) -> PageConnection:
    return PageConnection(url, (), 5.0, None, None, address)


def got(connection: PageConnection) -> bytes | str:
    """The page, or why there is none."""
    try:
        return connection.get()
    except NoPage as e:
        return str(e)


@pytest.mark.parametrize(
    ("answers", "found", "asked", "closed"),
    [
        ([(200, PAGE)], PAGE, 1, 0),
        ([(404, PAGE)], "status 404", 1, 0),
        ([(302, PAGE)], "status 302", 1, 0),  # Followed, it would give the key to another server.
        ([(200, b"#" * MOST_BYTES)], b"#" * MOST_BYTES, 1, 0),
        ([(200, b"#" + b" " * MOST_BYTES)], "more than 16777216 bytes", 1, 1),
        ([RemoteDisconnected(""), (200, PAGE)], PAGE, 2, 1),
        ([ConnectionResetError(), (200, PAGE)], PAGE, 2, 1),
        ([BrokenPipeError(), BrokenPipeError("gone")], "gone", 2, 2),
        ([HTTPException()], "HTTPException", 1, 1),
        ([TimeoutError("timed out")], "timed out", 1, 1),
    ],
    ids=range(10),
)
def test_a_page_is_asked_for_again_only_where_an_idle_connection_was_closed(
    answers: list[Any], found: bytes | str, asked: int, closed: int
) -> None:
    page = connection_to()
    page._connection = connection = Asked(*answers)  # type: ignore[assignment]
    assert got(page) == found
    assert (len(connection.requests), connection.closed) == (asked, closed)


def test_a_connection_that_the_server_ends_is_closed_at_once() -> None:
    page = connection_to()
    page._connection = connection = Asked((200, PAGE))  # type: ignore[assignment]
    connection.sock = None  # As after a response with Connection: close.
    assert got(page) == PAGE
    assert connection.closed == 1


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h:1/metrics", b""),
        ("http://h:1/metrics", b"HTTP/1.1 200 OK\r\nX:"),
        ("http://h:1/metrics", b"HTTP/1.1 200 OK\r\n\r\n" + PAGE),
        ("http://h:1/metrics", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + PAGE),
        ("http://h:1/metrics", b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n" + PAGE),
        ("https://h:1/metrics", b"\x16\x03\x03"),  # A handshake that does not end.
    ],
)
def test_a_page_that_trickles_in_is_given_up_and_not_asked_for_again(
    url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Timer(threading.Thread):
        """The time is up once the request has come; by then the server has sent everything."""

        def __init__(self, seconds: float, call: Callable[[], None]) -> None:
            super().__init__()
            self.call = call
            assert seconds == 5.0

        def run(self) -> None:
            theirs.recv(99)
            self.call()

        def cancel(self) -> None:
            self.join()

    class Ours(socket.socket):
        """A Unix socket, which has no options of TCP."""

        def setsockopt(self, *_: object) -> None:
            pass

    near, theirs = socket.socketpair()
    ours = Ours(fileno=near.detach())
    asked: list[object] = []

    def connected(place: object, *rest: object) -> socket.socket:
        asked.append(place)
        return ours

    monkeypatch.setattr(socket, "create_connection", connected)
    monkeypatch.setattr(threading, "Timer", Timer)
    with theirs:
        theirs.sendall(sent)
        page = connection_to(url)
        assert got(page) == "no whole answer within 5 s"
    assert asked == [("h", 1)]
    assert page._connection.sock is None
    assert page._socket is not None
    assert page._socket.fileno() == -1


def test_the_address_replaces_only_the_resolution_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refused(place: object, *rest: object) -> socket.socket:
        asked.append(place)
        raise OSError("refused")

    monkeypatch.setattr(socket, "create_connection", refused)
    page = connection_to(address="10.0.0.1")
    assert got(page) == "refused"
    assert asked == [("10.0.0.1", 1)]
    assert page._connection.host == "h"


DIRECT = (None, None)
OWN = {"user-agent": "trueload"}
PROXY = Proxy("proxy", 3128, "Basic eDp5")
TO_PROXY = {"proxy-authorization": "Basic eDp5"}


@pytest.mark.parametrize(
    ("url", "given", "proxy", "kind", "to", "tunnel", "path", "headers"),
    [
        ("http://h:1/metrics?a=b", (), None, HTTPConnection, ("h", 1), DIRECT, "/metrics?a=b", {}),
        ("http://h", (("x", "y"),), None, HTTPConnection, ("h", 80), DIRECT, "/", {"x": "y"}),
        ("http://[::1]/m", (), None, HTTPConnection, ("::1", 80), DIRECT, "/m", {}),
        ("https://h/m", (), None, HTTPSConnection, ("h", 443), DIRECT, "/m", {}),
        ("http://h:1/m", (), PROXY, HTTPConnection, ("proxy", 3128), DIRECT, "http://h:1/m", TO_PROXY),
        # Through a tunnel, the proxy's password is sent only with CONNECT, not to the server.
        ("https://h:2/m", (), PROXY, HTTPSConnection, ("proxy", 3128), ("h", 2), "/m", {}),
        ("https://h/m", (), PROXY, HTTPSConnection, ("proxy", 3128), ("h", 443), "/m", {}),
    ],
)  # fmt: skip
def test_a_page_is_asked_for_at_its_host_or_through_the_proxy(
    url: str,
    given: tuple[tuple[str, str], ...],
    proxy: Proxy | None,
    kind: type,
    to: tuple[str, int],
    tunnel: object,
    path: str,
    headers: dict[str, str],
) -> None:
    made = PageConnection(url, given, 5.0, None, proxy)
    of: Any = made._connection
    assert (type(of), (of.host, of.port), of.timeout) == (kind, to, 5.0)
    assert (of._tunnel_host, of._tunnel_port) == tunnel
    assert of._tunnel_headers.get("proxy-authorization") == (None if tunnel == DIRECT else "Basic eDp5")
    made._connection = connection = Asked((200, PAGE))  # type: ignore[assignment]
    made.get()
    assert connection.requests == [("GET", path, OWN | headers)]
