"""CORS: which web pages can call the mock from a browser (the Fetch standard, "CORS protocol").

Starlette's middleware adds its headers as a response passes through ASGI, but responses on the direct wire bypass ASGI.
So this middleware computes the headers once, adds them to responses through ASGI, and stores them in the scope for the
wire.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCOPE_KEY = "mockserver.headers"
"""The key of the response headers in the ASGI scope."""

_EXPOSED = "retry-after, x-ledger-lines, x-request-id"
_METHODS = "GET, POST, PATCH, OPTIONS"
_REMEMBERED_S = 600


def cors_headers(origin: str | None, allowed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The headers of a response to a page of this origin. Empty without an origin, or if the origin is not allowed."""
    if origin is None or not ("*" in allowed or origin in allowed):
        return ()
    # The origin itself, never "*": a browser that sends credentials rejects "*".
    return (("access-control-allow-origin", origin), ("access-control-expose-headers", _EXPOSED), ("vary", "Origin"))


class Cors:
    """ASGI middleware for `--cors`."""

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)
        headers = cors_headers(request.get("origin"), self._allowed)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            await self._preflight(headers, request)(scope, receive, send)
            return
        scope[SCOPE_KEY] = headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(dict(headers))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    @staticmethod
    def _preflight(headers: tuple[tuple[str, str], ...], request: Headers) -> Response:
        if not headers:
            return Response("This origin cannot call the mock (--cors).", 400)
        asked = request.get("access-control-request-headers", "")
        return Response(
            status_code=204,
            headers={
                **dict(headers),
                "access-control-allow-methods": _METHODS,
                "access-control-allow-headers": asked,
                "access-control-max-age": str(_REMEMBERED_S),
            },
        )
