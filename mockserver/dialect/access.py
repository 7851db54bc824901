"""Access checks: API keys under /v1, and who can use /admin."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect import openai
from mockserver.dialect.cors import cors_headers
from mockserver.dialect.openai import Refusal


def require_key(request: Request, config: MockConfig) -> None:
    """Raises Refusal (401) if API keys are configured and the request carries none of them."""
    if not config.api_key:
        return
    given = request.headers.get("authorization", "").encode()
    # Compare every key, so that the time taken reveals nothing.
    if sum(hmac.compare_digest(given, f"Bearer {key}".encode()) for key in config.api_key) == 0:
        raise Refusal(401, openai.UNAUTHORIZED)


def require_admin(request: Request, config: MockConfig) -> None:
    """Raises Refusal if the request cannot use /admin: /admin is off (404), the request comes from another machine or from a
    web page that `--cors` does not name (403), or it has no API key (401)."""
    if config.admin == "nobody":
        openai.refuse("/admin is off. To use it, start the mock with --admin loopback or --admin everyone.", status=404)
    host = None if request.client is None else request.client.host
    if config.admin == "loopback" and not _is_loopback(host):
        openai.refuse(
            "/admin answers only this machine. To change that, start the mock with --admin everyone.", status=403
        )
    origin = request.headers.get("origin")
    if origin is not None and not cors_headers(origin, config.cors):
        openai.refuse(
            "A web page of another origin cannot use /admin. To allow its origin, start the mock with --cors ORIGIN.",
            status=403,
        )
    require_key(request, config)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
