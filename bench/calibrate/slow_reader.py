"""A client that reads too slowly on purpose: it asks for a long reply and does not read it, so that the mock must wait."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

import orjson

from bench.accuracy.ledger import PROBE

ID = f"{PROBE}slow-reader"
"""The id of its request, which is not part of the load."""
TOKENS = 40_000
"""About 8 MB: more than a sender's buffer may grow to on Linux (4 MiB, tcp_wmem)."""
PAUSE_S = 1.0
RECEIVE_BYTES = 4_096


def read_slowly(base_url: str) -> None:
    """Ask for a long reply, wait, then read all of it. Raises OSError if the mock cannot be reached."""
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
