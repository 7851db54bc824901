"""The answer to a WebSocket's handshake."""

from __future__ import annotations

import base64
import hashlib
import re

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def handshake(hello: bytes) -> bytes:
    """What a server answers to this request."""
    key = re.search(rb"(?i)sec-websocket-key: *([^\r\n]+)", hello)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1].strip() + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: "
        + accept
        + b"\r\n\r\n"
    )
