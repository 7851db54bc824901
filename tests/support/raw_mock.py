"""Requests to a mock as bytes on a socket."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.mock_process import MockProcess
from tests.support.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MS = 1_000_000


def chat(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": True, **more}


def request(path: str, body: dict[str, Any], **headers: str) -> bytes:
    payload = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(payload)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + payload


def connect(mock: MockProcess) -> socket.socket:
    host, port = mock.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        part = sock.recv(65536)
        if not part:
            break
        data += part
    return data


def until_read(sock: socket.socket) -> None:
    """Wait until the mock has read everything sent on this connection (Linux)."""
    connections = Path("/proc/net/tcp")
    ours = f":{sock.getsockname()[1]:04X}"

    def waiting() -> int:
        """Bytes in our send queue and in the mock's receive queue."""
        bytes_waiting = 0
        for line in connections.read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            unsent, unread = queues.split(":")
            bytes_waiting += int(unsent, 16) * local.endswith(ours) + int(unread, 16) * remote.endswith(ours)
        return bytes_waiting

    deadline = time.monotonic() + PATIENCE_S
    # Twice: bytes that left one queue after its line may have reached the other behind its own.
    while connections.exists() and (waiting() or waiting()):
        assert time.monotonic() < deadline, "the mock does not read"
        time.sleep(0.001)


def until_stamped(mock: MockProcess) -> None:
    """Wait until requests to a new mock have the kernel's stamp: it begins a moment after the machine's first socket has
    requested it (Linux)."""
    while sys.platform == "linux" and not httpx.get(mock.url + "/truth").json()["arrival_clock"]["kernel"]:
        httpx.post(mock.url + CHAT, json=chat(max_tokens=1))


def unchunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, data = data.split(b"\r\n", 1)
        n = int(size, 16)
        body, data = body + data[:n], data[n + 2 :]
        if n == 0:
            break
    return body


def line_of(mock: MockProcess, request_id: str, attempt: int = 1) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for line in mock.ledger_lines():
            if line["id"] == request_id and line["attempt"] == attempt:
                return line
        time.sleep(0.005)
    raise AssertionError(f"no line for {request_id}, attempt {attempt}")
