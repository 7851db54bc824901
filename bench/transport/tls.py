"""TLS over memory: our own sockets keep their kernel stamps, and ssl sees only bytes."""

from __future__ import annotations

import ssl

from bench import trust
from bench.transport.interface import Target

READ_SIZE = 65_536


def context(target: Target) -> ssl.SSLContext:
    """Like `bench.trust.context`, for HTTP/1.1."""
    made = trust.context(target)
    made.set_alpn_protocols(["http/1.1"])
    return made


class TlsChannel:
    """One connection's TLS: ciphertext in, plaintext out, and vice versa. Raises ssl.SSLError."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "ready")

    def __init__(self, made: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = made.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ready = False
        self.ended = False

    def handshake(self) -> None:
        """Continue the handshake as far as the bytes allow; `ready` once it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.ready = True

    def received(self, data: bytes) -> bytes:
        """The plaintext that these bytes complete; empty during the handshake or in mid-record."""
        self._incoming.write(data)
        if not self.ready:
            self.handshake()
            if not self.ready:
                return b""
        pieces = []
        try:
            while piece := self._object.read(READ_SIZE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """The bytes to send for this plaintext."""
        self._object.write(data)
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """Data that TLS itself wants to send: handshake messages."""
        return self._outgoing.read()
