"""Who may ask: API keys under /v1, and who may use /admin."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect import openai
from mockserver.dialect.cors import cors_headers
from mockserver.dialect.openai import Refusal


def require_key(request: Request, config: MockConfig) -> None:
    """Raises Refusal (401) where keys are configured and the request carries none of them."""
    if not config.api_key:
        return
    given = request.headers.get("authorization", "").encode()
    # Every key is compared: how long it takes says nothing about which one is near.
    if sum(hmac.compare_digest(given, f"Bearer {key}".encode()) for key in config.api_key) == 0:
        raise Refusal(401, openai.UNAUTHORIZED)


def require_admin(request: Request, config: MockConfig) -> None:
    """Raises Refusal where the request may not use /admin: it is for nobody (404), it comes from elsewhere or from a web
    page that `--cors` does not name (403), or it has no key (401)."""
    if config.admin == "nobody":
        openai.refuse(
            "/admin is for nobody here: start the mock with --admin loopback or --admin everyone.", status=404
        )
    host = None if request.client is None else request.client.host
    if config.admin == "loopback" and not _is_loopback(host):
        openai.refuse(
            "/admin answers this machine alone: start the mock with --admin everyone to change that.", status=403
        )
    origin = request.headers.get("origin")
    if origin is not None and not cors_headers(origin, config.cors):
        openai.refuse("A web page of another origin may not use /admin (--cors).", status=403)
    require_key(request, config)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
