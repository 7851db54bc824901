"""The user of a request, if a reverse proxy authenticates several people and names each of them in a header.

The header is trusted only from the proxy's own address, because anyone else could send any name. The proxy must
overwrite this header if its clients send it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from bench.errors import UsageError

USER: ContextVar[str | None] = ContextVar("user", default=None)
"""The user of the current request. None without a proxy that names people."""
READ_ONLY: ContextVar[bool] = ContextVar("read_only", default=False)
"""Whether the current request uses the read-only token."""
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Proxy:
    """A trusted proxy: its addresses, and the header in which it names the user."""

    network: IPv4Network | IPv6Network
    header: str

    def user(self, address: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The user of a request from this address. Returns None for other addresses, or unless there is exactly one name."""
        names = _values(headers, self.header) if self._is_at(address) else []
        name = names[0].strip() if len(names) == 1 else ""
        return name[:LONGEST_NAME] if name and name.isprintable() else None

    def sender(self, address: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client address that the proxy forwards; the connection's own address if it is not the proxy's."""
        asked = _values(headers, "x-forwarded-for") if self._is_at(address) else []
        return asked[-1].rpartition(",")[2].strip() or address if asked else address

    def _is_at(self, address: str) -> bool:
        try:
            return ipaddress.ip_address(address) in self.network
        except ValueError:
            return False


def proxy_of(address: str | None, header: str | None) -> Proxy | None:
    """The proxy from two flags. Raises UsageError if only one is given or the address is invalid."""
    if address is None and header is None:
        return None
    if address is None:
        raise UsageError(
            "--trust-user-header needs --trusted-proxy, the address of the proxy that sets it: others could claim any name"
        )
    if header is None:
        raise UsageError("--trusted-proxy needs --trust-user-header, the header in which it names the user")
    try:
        return Proxy(ipaddress.ip_network(address), header.lower())
    except ValueError as e:
        raise UsageError(f"--trusted-proxy {address}: {e}: write an address, or a network such as 10.0.0.0/24") from e


def _values(headers: Iterable[tuple[bytes, bytes]], name: str) -> list[str]:
    return [_text(value) for key, value in headers if key.decode("latin-1").lower() == name]


def _text(value: bytes) -> str:
    """Proxies send names in UTF-8; the standard's own Latin-1 is what is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
