"""Requests through a real proxy (proxy.py): over every transport, with and without TLS, and each way to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import Exit
from bench.load.components import tokenizer_of
from bench.proxy import Proxy
from bench.records import Outcome, RequestRecord
from bench.target import side_requests
from bench.transport.interface import Target
from tests.support.configurations import resolved
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import CERTIFICATE, Close, LiteralServer, Send, Step, closed_port, in_turn
from tests.support.mock_process import mock_process
from tests.support.on_transports import WAYS, ask
from tests.support.proxy_process import ProxyProcess, proxy_process
from tests.support.run_process import finished, flags, summary, wait_for

pytestmark = pytest.mark.usefixtures("work_folder")

SECRET = "pass:wörd"
QUOTED = "pass%3Aw%C3%B6rd"


@pytest.fixture(scope="module")
def proxy() -> Iterator[ProxyProcess]:
    with proxy_process() as running:
        yield running


@pytest.fixture(scope="module")
def locked() -> Iterator[ProxyProcess]:
    """A proxy that requires a user and a password."""
    with proxy_process("--basic-auth", f"user:{SECRET}") as running:
        yield running


def through(url: str | None) -> dict[str, Any]:
    return {"proxy": Proxy.of(url), "ca_file": str(CERTIFICATE)}


def with_password(proxy: ProxyProcess, quoted: str) -> str:
    return f"http://user:{quoted}@{proxy.name}"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("way", WAYS)
def test_requests_reach_the_server_by_way_of_the_proxy(way: str, tls: bool, locked: ProxyProcess) -> None:
    with LiteralServer(in_turn(stream(*GOOD)), tls=tls) as server:
        url = f"{server.url}/v1/chat/completions?a=b"
        records = ask(way, url, requests=3, **through(with_password(locked, QUOTED)))
        assert [(r.outcome, r.error) for r in records] == [(Outcome.OK, None)] * 3
        assert all(r.connect_ns and r.connect_ns > 0 for r in records)
        # The server sees an ordinary request, without the proxy's headers.
        assert {request.path for request in server.received} == {"/v1/chat/completions?a=b"}
        assert not any("proxy-authorization" in request.headers for request in server.received)
        port = server.url.rpartition(":")[2]
    wait_for(lambda: locked.passed_on(f"CONNECT 127.0.0.1:{port}" if tls else f"POST 127.0.0.1:{port}/v1/chat"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_that_refuses_is_blamed_by_name(way: str, tls: bool, locked: ProxyProcess) -> None:
    def asked(proxy_url: str, url: str) -> RequestRecord:
        (record,) = ask(way, url, **through(proxy_url))
        return record

    with LiteralServer(in_turn(stream(*GOOD)), tls=tls) as server:
        record = asked(locked.url, server.url)
        assert record.error == (
            f"the proxy {locked.name} wants a user and a password (status 407): give them with "
            f"--proxy http://USER:PASSWORD@{locked.name}"
        )
        assert record.outcome is (Outcome.CONNECT_ERROR if tls else Outcome.HTTP_ERROR)
        record = asked(with_password(locked, "wrong"), server.url)
        assert record.error == f"the proxy {locked.name} refuses the user and the password of --proxy (status 407)"
        assert server.received == []
        with closed_port() as dead:
            name = dead.removeprefix("http://")
            record = asked(dead, server.url)
        assert record.outcome is Outcome.CONNECT_ERROR
        assert record.error is not None
        assert record.error.startswith(f"the proxy {name} cannot be used: ")
    with closed_port() as dead:
        record = asked(with_password(locked, QUOTED), dead.replace("http:", "https:") if tls else dead)
    assert record.error is not None
    if tls:
        gone = dead.removeprefix("http://")
        assert record.error.startswith(f"no way to {gone} through the proxy {locked.name} (status 502")
    else:
        assert record.status == 502
        assert record.error.endswith(f"(through the proxy {locked.name}, which may have sent it)")


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_that_breaks_off_is_blamed_by_name(way: str) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    broken: list[tuple[list[Step], str]] = [
        ([Close()], "cannot be used: it closed the connection and opened no tunnel"),
        ([Send(b"SSH-2.0-x\r\n"), Close()], "cannot be used: it does not speak HTTP"),
        ([Send(refusal)], "opens no tunnel to nowhere.invalid:443 (status 403 Forbidden)"),
        ([Send(b"HTTP/1.1 200 OK\r\n\r\nhello")], "cannot be used: it sent bytes of its own into the tunnel"),
    ]
    for steps, sentence in broken:
        with LiteralServer(in_turn(steps)) as proxy:
            (record,) = ask(way, "https://nowhere.invalid", **through(proxy.url))
            assert proxy.received[0].method == "CONNECT"
        assert record.outcome is Outcome.CONNECT_ERROR
        assert record.error is not None
        assert record.error.startswith(f"the proxy {proxy.url.removeprefix('http://')} {sentence}")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_what_is_asked_beside_the_load_takes_the_proxy_too(
    tls: bool, locked: ProxyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")  # The environment decides nothing.
    with LiteralServer(in_turn(whole("200 OK", {"data": []})), tls=tls) as server:
        target = Target(url=server.url, **through(with_password(locked, QUOTED)))
        assert side_requests._get(f"{server.url}/beside", target, 60.0) == b'{"data": []}'
        assert "proxy-authorization" not in server.received[0].headers
        port = server.url.rpartition(":")[2]
    wait_for(lambda: locked.passed_on(f"CONNECT 127.0.0.1:{port}" if tls else f"GET 127.0.0.1:{port}/beside"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_tokenizer_at_the_server_takes_the_proxy_too(tls: bool, locked: ProxyProcess) -> None:
    with LiteralServer(in_turn(whole("200 OK", {"tokens": [1, 2], "count": 2})), tls=tls) as server:
        trusted = {"ca_file": str(CERTIFICATE)} if tls else {}
        proxy = with_password(locked, QUOTED)
        tokenizer = tokenizer_of(resolved(url=server.url, tokenizer="server", requests=1, proxy=proxy, **trusted))
        assert tokenizer is not None
        assert tokenizer.count("any text") == 2
        # This proxy removes its headers only from the first request of a connection.
        assert "proxy-authorization" not in server.received[0].headers
        port = server.url.rpartition(":")[2]
    wait_for(lambda: locked.passed_on(f"CONNECT 127.0.0.1:{port}" if tls else f"POST 127.0.0.1:{port}/tokenize"))


def test_a_run_names_its_proxy_and_keeps_the_password_to_itself(tmp_path: Path, locked: ProxyProcess) -> None:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as mock:
        words = flags(mock.url, tmp_path, "--requests", "5", "--proxy", with_password(locked, QUOTED))
        status, out, err = finished([*words, "--server-metrics", f"{mock.url}/metrics"])
    assert status == 0, err
    assert f", through the proxy {locked.name}" in out
    told = summary(tmp_path)
    assert f"all requests went through the proxy {locked.name}: latencies include it" in told["run"]["notes"]
    assert told["run"]["config"]["proxy"] == f"http://***@{locked.name}"
    port = mock.url.rpartition(":")[2]
    asked = [f"{what[0]} 127.0.0.1:{port}{what[1]}" for what in (
        ("GET", "/v1/models"), ("GET", "/metrics"), ("POST", "/v1/chat/completions")
    )]  # fmt: skip
    wait_for(lambda: all(map(locked.passed_on, asked)))
    written = b"".join(file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file())
    shown = (out + err).encode() + written
    assert SECRET.encode() not in shown
    assert QUOTED.encode() not in shown


def test_conversations_over_websockets_take_a_tunnel(tmp_path: Path, proxy: ProxyProcess) -> None:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as mock:
        words = flags(mock.url, tmp_path, "--endpoint", "responses", "--websocket", "--requests", "3")
        status, _, err = finished([*words, "--proxy", proxy.url])
        port = mock.url.rpartition(":")[2]
    assert status == 0, err
    wait_for(lambda: proxy.passed_on(f"CONNECT 127.0.0.1:{port}"))


def test_a_wait_for_the_server_does_not_wait_for_a_dead_proxy(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD)))) as server, closed_port() as dead:
        words = flags(server.url, tmp_path, "--requests", "1", "--proxy", dead, "--wait-for-server", "10m")
        status, _, err = finished(words)
    assert status == Exit.TARGET
    assert f"the proxy {dead.removeprefix('http://')} cannot be used: Connection refused" in err


def test_a_proxy_without_a_name_known_here_is_blamed(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD)))) as server:
        words = flags(server.url, tmp_path, "--requests", "1", "--proxy", "http://nowhere.invalid:3128")
        status, _, err = finished(words)
    assert status == Exit.TARGET
    assert "the proxy nowhere.invalid:3128 cannot be used: the name nowhere.invalid is not known" in err


def test_an_ipv6_proxy_has_its_brackets() -> None:
    proxy = Proxy.of("http://[::1]:3128")
    assert proxy is not None
    assert (proxy.host, proxy.name) == ("::1", "[::1]:3128")
