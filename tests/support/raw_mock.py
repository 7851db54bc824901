"""Requests to a mock as bytes on a socket."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

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
