"""A tunnel through a proxy, sans-IO: CONNECT and the proxy's answer (RFC 9110, 9.3.6)."""

from __future__ import annotations

from bench.proxy import AUTHENTICATION_REQUIRED, Proxy
from bench.transport.head import HeadReader, HeadTooLarge, ProtocolError


class TunnelRefused(OSError):
    """The proxy refuses a tunnel. The message names the proxy and the reason."""


class Tunnel:
    """One CONNECT. Send `hello`, and feed the answer until `feed` returns True."""

    __slots__ = ("_head", "_proxy", "_server", "hello")

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._proxy = proxy
        self._head = HeadReader()
        self._server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {self._server} HTTP/1.1", f"host: {self._server}", "user-agent: trueload"]
        lines += [f"{name}: {value}" for name, value in proxy.headers]
        self.hello = "\r\n".join([*lines, "", ""]).encode("latin-1")

    def feed(self, data: bytes) -> bool:
        """Whether the tunnel is open. No bytes: the proxy has closed the connection. Raises TunnelRefused."""
        if not data:
            raise TunnelRefused(self._proxy.failed("it closed the connection and opened no tunnel"))
        try:
            head = self._head.feed(data)
        except (ProtocolError, HeadTooLarge) as e:
            raise TunnelRefused(self._proxy.failed(f"it does not speak HTTP ({e})")) from e
        if not head:
            return False
        status = head.partition(b"\r\n")[0]
        code = status[9:12]
        if code == b"%d" % AUTHENTICATION_REQUIRED:
            raise TunnelRefused(self._proxy.wants_credentials())
        if not code.startswith(b"2"):
            raise TunnelRefused(self._proxy.unreached(self._server, status[9:].decode("latin-1").strip()))
        if head.partition(b"\r\n\r\n")[2]:
            raise TunnelRefused(self._proxy.failed("it sent bytes of its own into the tunnel"))
        return True
