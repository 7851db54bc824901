"""Addresses that a console does not fetch data from: services on this machine and its local network link trust anyone
who can reach them.

A name is resolved once, and the request goes to the address that was checked, which defeats a name server that answers
differently the second time (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from bench.console.errors import ConsoleError
from bench.console.language import tr

Resolve = Callable[[str], Awaitable[list[str]]]
"""Resolves the addresses of a host. Raises OSError."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def resolved(host: str) -> list[str]:
    """Resolve with the system's resolver, which also parses 0x7f.1 and 2130706433."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in answers]


def is_local(address: str) -> bool:
    """Whether an address belongs to this machine (127.0.0.1, ::1, 0.0.0.0) or its local link (169.254.169.254, fe80::1)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = (
            ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        )
        if inner is not None:
            return is_local(str(inner))
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast


def is_own(address: str) -> bool:
    """Whether a network address is one of this machine's own: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


async def public_address(host: str, resolve: Resolve = resolved) -> str:
    """An address of the host. Raises ConsoleError if any of its addresses is local or the name cannot be resolved."""
    try:
        addresses = await resolve(host)
    except (OSError, UnicodeError) as e:
        why = getattr(e, "strerror", None) or e
        raise ConsoleError(tr("%(host)s cannot be fetched from (%(why)s): check the URL", host=host, why=why)) from e
    if local := [address for address in addresses if is_local(address) or is_own(address)]:
        raise ConsoleError(
            tr(
                "%(host)s leads to %(address)s, an address of this machine or its link: "
                "start the console with --allow-local-data to fetch from there",
                host=host,
                address=local[0],
            )
        )
    return addresses[0]
