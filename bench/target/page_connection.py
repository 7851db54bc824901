"""GET requests beside the load: lists of models, metrics. The whole answer must arrive before a deadline."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from urllib.parse import urlsplit, urlunsplit

from bench.proxy import Proxy

MOST_BYTES = 16 << 20


class NoPage(Exception):
    """The server did not answer with the page. The message says why."""


class PageConnection:
    """A connection for requests of one page. It stays open between them.

    `address`: the IP to connect to, instead of resolving the name in the URL; the Host header and TLS keep using the
    name. Raises ValueError if the URL is invalid.
    """

    def __init__(
        self,
        url: str,
        headers: Iterable[tuple[str, str]],
        timeout_s: float,
        context: ssl.SSLContext | None,
        proxy: Proxy | None,
        address: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._headers = {"user-agent": "trueload", **dict(headers)}
        self._path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        place = (parts.hostname or "", port) if proxy is None else (proxy.host, proxy.port)
        if parts.scheme == "https":
            self._connection: HTTPConnection = HTTPSConnection(*place, timeout=timeout_s, context=context)
            if proxy is not None:
                self._connection.set_tunnel(parts.hostname or "", port, dict(proxy.headers))
        else:
            self._connection = HTTPConnection(*place, timeout=timeout_s)
            if proxy is not None:
                self._headers |= dict(proxy.headers)
                self._path = f"http://{parts.netloc.rpartition('@')[2]}{self._path}"
        self._connection._create_connection = self._connect  # type: ignore[attr-defined]
        self._address = address
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        """The connection's socket, duplicated: TLS and some responses take the original away."""

    def get(self) -> bytes:
        """The page: the content of an answer with status 200. Raises NoPage."""
        self._late = False
        # The socket's own timeout restarts with each byte that a slow server sends.
        timer = threading.Timer(self._timeout_s, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            return self._asked_twice()
        except (OSError, HTTPException, ValueError) as e:
            self.close()
            late = f"no whole answer within {self._timeout_s:g} s"
            raise NoPage(late if self._late else str(e) or type(e).__name__) from None
        finally:
            timer.cancel()
            timer.join()

    def close(self) -> None:
        self._connection.close()
        if self._socket is not None:
            self._socket.close()

    def _connect(self, place: tuple[str, int], timeout_s: float, source: tuple[str, int] | None) -> socket.socket:
        place = place if self._address is None else (self._address, place[1])
        sock = socket.create_connection(place, timeout_s, source)
        self._socket = sock.dup()
        return sock

    def _give_up(self) -> None:
        """Called by another thread: end the pending read."""
        self._late = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # It has already ended.
                self._socket.shutdown(socket.SHUT_RD)

    def _asked_twice(self) -> bytes:
        try:
            return self._ask()
        except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if self._late:
                raise
            # A server may close an idle connection: that is not an error.
            self.close()
            return self._ask()

    def _ask(self) -> bytes:
        self._connection.request("GET", self._path, headers=self._headers)
        if self._late:
            raise TimeoutError
        response = self._connection.getresponse()
        content = response.read(MOST_BYTES + 1)
        if self._late:
            raise TimeoutError
        if self._connection.sock is None or not response.isclosed():  # The server ends the connection, or we do.
            self.close()
        if response.status != HTTPStatus.OK:
            raise NoPage(f"status {response.status}")
        if len(content) > MOST_BYTES:
            raise NoPage(f"more than {MOST_BYTES} bytes")
        return content
