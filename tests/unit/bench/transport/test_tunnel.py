"""A tunnel through a proxy: what is sent, and which answers open it."""

from __future__ import annotations

import pytest

from bench.proxy import Proxy
from bench.transport.tunnel import Tunnel, TunnelRefused

PROXY = Proxy("proxy", 3128)
OPEN = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n"


@pytest.mark.parametrize(
    ("proxy", "host", "server", "more"),
    [
        (PROXY, "server", "server:443", ""),
        (PROXY, "::1", "[::1]:443", ""),
        (Proxy.of("http://me:pw@proxy"), "server", "server:443", "proxy-authorization: Basic bWU6cHc=\r\n"),
    ],
)
def test_a_tunnel_is_asked_for_by_host_and_port(proxy: Proxy, host: str, server: str, more: str) -> None:
    hello = f"CONNECT {server} HTTP/1.1\r\nhost: {server}\r\nuser-agent: trueload\r\n{more}\r\n"
    assert Tunnel(proxy, host, 443).hello == hello.encode()


@pytest.mark.parametrize("size", [1, 7, len(OPEN)])
@pytest.mark.parametrize("status", [b"200", b"204", b"299"])
def test_a_tunnel_is_open_when_the_whole_head_of_a_success_is_there(status: bytes, size: int) -> None:
    tunnel, answer = Tunnel(PROXY, "server", 443), OPEN.replace(b"200", status)
    found = [tunnel.feed(answer[at : at + size]) for at in range(0, len(answer), size)]
    assert found == [False] * (len(found) - 1) + [True]


CANNOT = "the proxy proxy:3128 cannot be used: "


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", f"{CANNOT}it closed the connection and opened no tunnel"),
        (b"SSH-2.0\r\n\r\n", f"{CANNOT}it does not speak HTTP ("),
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "the proxy proxy:3128 wants a user and a password (status 407)"),
        (
            b"HTTP/1.1 403 Not there\r\n\r\n",
            "the proxy proxy:3128 opens no tunnel to server:443 (status 403 Not there)",
        ),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "no way to server:443 through the proxy proxy:3128 (status 502 Bad)"),
        (OPEN + b"hello", f"{CANNOT}it sent bytes of its own into the tunnel"),
    ],
)
def test_any_other_answer_opens_none(answer: bytes, why: str) -> None:
    with pytest.raises(TunnelRefused) as refused:
        Tunnel(PROXY, "server", 443).feed(answer)
    assert str(refused.value).startswith(why)
