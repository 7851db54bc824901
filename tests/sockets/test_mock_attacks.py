"""The mock under attack: half-sent heads, foreign web pages, huge prompts. Other clients are not affected."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
MS = 1_000_000


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--head-timeout-s", "0.5", "--keep-alive-s", "600") as mock:
        yield mock


def address(mock: MockProcess) -> tuple[str, int]:
    host, port = mock.url.removeprefix("http://").split(":")
    return host, int(port)


def ask(mock: MockProcess, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, **more}
    return httpx.post(mock.url + CHAT, json=body, timeout=PATIENCE_S)


# ---- Half-sent heads ---------------------------------------------------------------------------------------------------


def read_to_the_end(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_S)
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def test_a_thousand_half_sent_heads_are_closed(mock: MockProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1_200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    connections: list[socket.socket] = []
    try:
        for _ in range(1_000):
            connections.append(socket.create_connection(address(mock)))
            connections[-1].sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert ask(mock).status_code == 200
        for connection in connections:
            assert read_to_the_end(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
    finally:
        for connection in connections:
            connection.close()


def test_a_reply_longer_than_the_time_for_a_head_is_not_cut(mock: MockProcess) -> None:
    request = b'{"prompt":"x","max_tokens":3,"stream":true}'
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nx-mock-ttft: 900ms\r\ncontent-length: %d\r\n\r\n"
    with socket.create_connection(address(mock)) as connection:
        # Meanwhile the head of the next request is on its way, but never complete.
        connection.sendall(head % len(request) + request + b"GET /health HTTP/1.1\r\nx-slow: ")
        said = read_to_the_end(connection)
    assert said.count(b"data: ") == 4
    assert b"data: [DONE]" in said
    assert said.rpartition(b"HTTP/1.1 ")[2].startswith(b"408 ")


# ---- Half-sent bodies --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_half_sent_bodies_are_closed_and_their_memory_is_given_back() -> None:
    half = b" " * 3_000_000
    with mock_process("--body-timeout-s", "0.5") as mock, contextlib.ExitStack() as stack:
        while (status := ask(mock).status_code) != 200:
            assert status == 408, "on a busy machine the body may be late"
        before = resident_mb(mock)
        connections = [stack.enter_context(socket.create_connection(address(mock))) for _ in range(30)]
        for connection in connections:
            with contextlib.suppress(ConnectionError):  # It may be closed before we have sent everything.
                connection.sendall(
                    b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 6000000\r\n\r\n" + half
                )
        for connection in connections:
            assert read_to_the_end(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
        deadline = time.monotonic() + PATIENCE_S
        while resident_mb(mock) > before + 60:
            assert time.monotonic() < deadline, (before, resident_mb(mock))
            time.sleep(0.05)


# ---- Web pages of other sites ------------------------------------------------------------------------------------------


def status_of(mock: MockProcess, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address(mock))
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_rebound_name_and_another_origin_are_refused(mock: MockProcess) -> None:
    # tests/unit/mockserver/test_mock_access.py tests the names and origins.
    for method, path in (("GET", "/ledger"), ("GET", "/truth"), ("GET", "/admin/config"), ("POST", "/admin/reset")):
        status, text = status_of(mock, method, path, {"Host": "localhost.evil.example"})
        assert (status, "--allowed-host" in text) == (403, True)
        assert f"{path} does not answer to the host name 'localhost.evil.example'" in text
        status, text = status_of(mock, method, path, {"Host": "127.0.0.1", "Origin": "https://evil.example"})
        assert (status, f"another origin cannot use {path}" in text) == (403, True)


def test_any_host_may_ask_for_text(mock: MockProcess) -> None:
    assert httpx.post(
        mock.url + CHAT, json={"messages": [{"role": "user", "content": "x"}]}, headers={"host": "a.example"}
    ).is_success


# ---- Fields out of range -----------------------------------------------------------------------------------------------


def test_a_wild_temperature_gets_the_400_of_vllm_and_a_line(mock: MockProcess) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "temperature": 99}
    response = httpx.post(mock.url + CHAT, json=body, headers={"x-request-id": "wild-1"})
    assert (response.status_code, response.json()["error"]["message"]) == (
        400,
        "temperature must be in [0, 2], got 99.0. (parameter=temperature, value=99.0)",
    )
    assert mock.line_of("wild-1")["status"] == 400


# ---- Huge prompts ------------------------------------------------------------------------------------------------------


def resident_mb(mock: MockProcess) -> float:
    for line in Path(f"/proc/{mock.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no VmRSS")


def post_prompt(mock: MockProcess, megabytes: int) -> httpx.Response:
    text = "hello " * (megabytes * 1_000_000 // 6)
    return httpx.post(mock.url + "/v1/completions", json={"prompt": text, "max_tokens": 1}, timeout=PATIENCE_S)


def test_a_prompt_that_no_context_holds_is_refused_uncounted(mock: MockProcess) -> None:
    response = post_prompt(mock, 18)
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert message.startswith(
        "You passed 18000000 input characters and requested 1 output tokens. However, the model's"
    )
    assert "context length is only 131072 tokens, resulting in a maximum input length of 131071 tokens" in message
    assert response.json()["error"]["param"] == "input_text"


@pytest.mark.parametrize(("path", "name"), [("/tokenize", "prompt"), ("/v1/embeddings", "input")])
def test_a_huge_text_is_refused_everywhere(mock: MockProcess, path: str, name: str) -> None:
    response = httpx.post(mock.url + path, json={name: "hello " * 3_000_000}, timeout=PATIENCE_S)
    assert response.status_code == 400
    assert "context length is only 131072 tokens" in response.json()["error"]["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_others_are_answered_beside_a_long_prompt_and_its_memory_is_given_back(mock: MockProcess) -> None:
    for _ in range(3):
        assert ask(mock).status_code == 200
    before = resident_mb(mock)
    with ThreadPoolExecutor(1) as pool:
        # Fewer characters than the context has tokens, but more tokens: it must be counted to be refused.
        long = pool.submit(post_prompt, mock, 4)
        while not long.done():
            response = ask(mock, stream=True, stream_options={"include_usage": True})
            assert response.text.endswith("data: [DONE]\n\n")
        assert long.result().status_code == 400
    deadline = time.monotonic() + PATIENCE_S
    while resident_mb(mock) > before + 60:
        assert time.monotonic() < deadline, (before, resident_mb(mock))
        time.sleep(0.05)
