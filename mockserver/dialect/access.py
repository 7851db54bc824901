"""Access checks: API keys under /v1, web pages that must not read or control the mock, and who can use /admin."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from functools import cache

from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect import refusals
from mockserver.dialect.cors import cors_headers
from mockserver.dialect.refusals import Refusal


def require_key(request: Request, config: MockConfig, key_header: str | None = None) -> None:
    """Raises Refusal (401) if API keys are configured and the request carries none of them, neither as a bearer token
    nor in `key_header`."""
    if not config.api_key:
        return
    tokens = [request.headers.get("authorization", "")]
    if key_header is not None:
        tokens.append("Bearer " + request.headers.get(key_header, ""))
    # Compare with every key, so that the time taken reveals nothing.
    if (
        sum(hmac.compare_digest(token.encode(), f"Bearer {key}".encode()) for key in config.api_key for token in tokens)
        == 0
    ):
        raise Refusal(401, refusals.UNAUTHORIZED, message="Unauthorized")


def require_trusted_page(request: Request, config: MockConfig) -> None:
    """Raises Refusal (403) if a web page of another origin sent the request.

    The `Origin` header names the page. DNS rebinding hides it: the page's own name then resolves to this machine, and the
    browser takes the mock for the page's server. The name is still in `Host`, so only names that belong to this machine are
    accepted there. An address cannot be rebound.
    """
    path = request.scope["path"]
    origin = request.headers.get("origin")
    if origin is not None and not cors_headers(origin, config.cors):
        refusals.refuse(
            f"A web page of another origin cannot use {path}. To allow its origin, start the mock with --cors ORIGIN.",
            status=403,
        )
    host = request.headers.get("host")
    if host is not None and not _is_trusted(host, config):
        refusals.refuse(
            f"{path} does not answer to the host name {host!r}. To allow it, start the mock with --allowed-host NAME.",
            status=403,
        )


def _is_trusted(host: str, config: MockConfig) -> bool:
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    name = name.lower().rstrip(".")
    if "*" in config.allowed_host or name in config.allowed_host or name == config.host.lower():
        return True
    return name == "localhost" or name.endswith(".localhost") or name in _machine_names() or _is_address(name)


@cache
def _machine_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0], f"{name}.local"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def require_admin(request: Request, config: MockConfig) -> None:
    """Raises Refusal if the request cannot use /admin: /admin is off (404), the request comes from another machine or from a
    foreign web page (403), or it has no API key (401)."""
    if config.admin == "nobody":
        refusals.refuse(
            "/admin is off. To use it, start the mock with --admin loopback or --admin everyone.", status=404
        )
    host = None if request.client is None else request.client.host
    if config.admin == "loopback" and not _is_loopback(host):
        refusals.refuse(
            "/admin answers only this machine. To change that, start the mock with --admin everyone.", status=403
        )
    require_trusted_page(request, config)
    require_key(request, config)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
