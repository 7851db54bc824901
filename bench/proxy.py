"""A proxy between this machine and the server (`--proxy`): its address, its credentials, and which errors are its own.

Requests for http:// URLs have the whole URL in their first line (RFC 9112, 3.2.2). Everything else (https://,
WebSockets) goes through a tunnel that the proxy opens on CONNECT (RFC 9110, 9.3.6; `bench/transport/tunnel.py`).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

AUTHENTICATION_REQUIRED = 407
"""A status that only proxies send."""
_OF_A_GATEWAY = (502, 503, 504)
"""What a proxy answers if it cannot reach the server. Gateways on the server's side answer the same."""
_BLAMED = "the proxy "


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization`: the value of Proxy-Authorization; None without a user in the URL."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str | None) -> Proxy | None:
        """The proxy of a validated URL."""
        if url is None:
            return None
        parts = urlsplit(url)
        authorization = None
        if parts.username is not None:
            pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            authorization = f"Basic {base64.b64encode(pair).decode()}"
        return cls(parts.hostname or "", 80 if parts.port is None else parts.port, authorization)

    @property
    def name(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers for the proxy only, sent with each request or tunnel."""
        return () if self.authorization is None else (("proxy-authorization", self.authorization),)

    def failed(self, why: str) -> str:
        """The error message for a proxy that cannot be used."""
        return f"{_BLAMED}{self.name} cannot be used: {why}"

    def wants_credentials(self) -> str:
        """The error message for status 407."""
        if self.authorization is None:
            return (
                f"{_BLAMED}{self.name} wants a user and a password (status 407): give them with "
                f"--proxy http://USER:PASSWORD@{self.name}"
            )
        return f"{_BLAMED}{self.name} refuses the user and the password of --proxy (status 407)"

    def unreached(self, server: str, status: str) -> str:
        """The error message if the proxy opens no tunnel. With a gateway status the server may be at fault: it may
        still be starting."""
        if status[:3] in map(str, _OF_A_GATEWAY):
            return f"no way to {server} through the proxy {self.name} (status {status})"
        return f"{_BLAMED}{self.name} opens no tunnel to {server} (status {status})"

    def explained(self, status: int | None, error: str) -> str:
        """A request's error, with the proxy named: it forwarded the error, or caused it."""
        if status == AUTHENTICATION_REQUIRED:
            return self.wants_credentials()
        if f"the proxy {self.name}" in error:
            return error
        sender = ", which may have sent it" if status in _OF_A_GATEWAY else ""
        return f"{error} (through the proxy {self.name}{sender})"


def is_of_proxy(error: str | None) -> bool:
    """Whether the proxy itself caused a request's error: waiting for the server will not help then."""
    return error is not None and error.startswith(_BLAMED)


def proxy_in(error: str | None) -> str | None:
    """The name of the proxy in a request's error. Returns None if it names none."""
    match = re.search(r"\(through the proxy ([^\s,)]+)", error or "")
    return None if match is None else match[1]
