"""A client that reads too slowly, on purpose: a request whose reply it leaves lying, so that the mock must wait."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

import orjson

from bench.accuracy.ledger import PROBE

ID = f"{PROBE}slow-reader"
"""Of its request, which is no part of the load."""
TOKENS = 40_000
"""Some 8 MB: more than Linux lets the buffers of a sender grow to (4 MiB, tcp_wmem)."""
PAUSE_S = 1.0
RECEIVE_BYTES = 4_096


def read_slowly(base_url: str) -> None:
    """Ask for a long reply, read nothing of it for a while, and then all. Raises OSError where the mock cannot be reached."""
    address = urlsplit(base_url)
    assert address.hostname is not None
    assert address.port is not None
    body = orjson.dumps(
        {"model": "mock-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": TOKENS, "stream": True}
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
        f"x-request-id: {ID}\r\nx-mock-ttft: 1ms\r\nx-mock-tpot: 10us\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.settimeout(20)
        connection.connect((address.hostname, address.port))
        connection.sendall(head.encode() + body)
        threading.Event().wait(PAUSE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while connection.recv(1 << 16):
            pass
