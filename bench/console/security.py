"""Who may do what over HTTP. Every request passes here before any route sees it.

Host header    an IP address, localhost or the name that the console was given: another name is DNS rebinding
token          once in the URL, then a cookie that scripts cannot read and other sites cannot send; or as a bearer token
CSRF token     on every change that comes with the cookie; a bearer token is sent by no browser by itself
body           limited in size as it arrives
headers        no script but our own files, no framing, no caching
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from markupsafe import escape
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.rng import secret_token

CSRF_FIELD, CSRF_HEADER = "csrf", b"x-csrf-token"
MOST_BODY = 65 * 1024 * 1024
"""Bytes of a request: an upload, and the form around it."""
SAFE = ("GET", "HEAD")
OPEN_PATHS = ("/static/",)
"""What is the same for everybody: style and scripts."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""A report is a page of its own with its script inside. It is put in a sandbox: it has no cookie and can call nothing."""
COMMON_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


SHORTEST_TOKEN = 12
"""Characters: a shorter one could be guessed."""


class Keys:
    """The token that lets a user in, and what is derived from it for one life of the console."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secret_token()
        self._session = secret_token()
        self.csrf = hmac.new(self._session.encode(), b"csrf", sha256).hexdigest()

    @property
    def session(self) -> str:
        """The value of the cookie: of no use after the console has ended."""
        return self._session

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_session(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._session.encode())

    def is_csrf(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.csrf.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a console that listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_allowed(header: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this console: a name that somebody else's DNS points here does not."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
        urlsplit(f"//{header}").port  # noqa: B018 (raises for a port that is none)
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware with every rule of this file. `cookie` is the name of the cookie: one for each port."""

    def __init__(self, app: ASGIApp, keys: Keys, *, host: str, cookie: str) -> None:
        self._app = app
        self._keys = keys
        self._names = frozenset({host.lower(), socket.gethostname().lower()})
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused, receive = await self._judge(scope, receive)
        send = _with_headers(send)
        await (self._app if refused is None else refused)(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        headers = dict(scope["headers"])
        if not host_allowed(headers.get(b"host", b"").decode("latin-1"), self._names):
            return _refusal(scope, 421, "the Host header is not that of this console"), receive
        if scope["path"].startswith(OPEN_PATHS):
            return None, receive
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if (given := query.get("token", [""])[0]) and scope["method"] == "GET":
            if not self._keys.is_token(given):
                return _refusal(scope, 401, "the token in the URL is not that of this console"), receive
            return self._let_in(scope), receive
        scheme, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        by_bearer = scheme.lower() == "bearer" and self._keys.is_token(bearer)
        if not by_bearer and not self._keys.is_session(_cookie_value(headers.get(b"cookie", b""), self._cookie)):
            return _refusal(scope, 401, "open the URL that the console printed: it holds the token"), receive
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return _refusal(scope, 413, f"a request has at most {MOST_BODY // 2**20} MiB"), receive
        if scope["method"] in SAFE:
            return None, receive
        body = await _read(receive)
        if body is None:
            return _refusal(scope, 413, f"a request has at most {MOST_BODY // 2**20} MiB"), receive
        if not by_bearer and not self._keys.is_csrf(_csrf_of(headers, body)):
            return _refusal(scope, 403, "the form is not of this console's life: load the page again"), receive
        return None, _again(body)

    def _let_in(self, scope: Scope) -> Response:
        """The cookie, and the same address without the token: it shall not stand in the history."""
        query = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
        to = escape("/" + scope["path"].lstrip("/\\") + (f"?{urlencode(query)}" if query else ""))
        # Not a redirect: one that began on another site, or in a file, would leave the strict cookie out.
        reply = HTMLResponse(
            "<!doctype html><meta charset=utf-8><link rel=icon href=data:,>"
            f'<meta http-equiv=refresh content="0;url={to}"><a href="{to}">Go on</a>'
        )
        reply.set_cookie(self._cookie, self._keys.session, httponly=True, samesite="strict", path="/")
        return reply


def _refusal(scope: Scope, status: int, sentence: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": sentence}, status_code=status)
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Trueload</title><link rel=stylesheet href=/static/console.css>"
        f"<main class=narrow><h1>Not here</h1><p>{sentence[0].upper()}{sentence[1:]}.</p></main></html>"
    )
    return HTMLResponse(page, status_code=status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            policy = {"content-security-policy": PAGE_POLICY}
            added = [
                (k.encode(), v.encode()) for k, v in {**COMMON_HEADERS, **policy}.items() if k.encode() not in present
            ]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending


def _cookie_value(header: bytes, name: str) -> str:
    # As browsers read it: other programs on this host set cookies too, and one with a brace ends what `http.cookies` reads.
    return cookie_parser(header.decode("latin-1")).get(name, "")


def _csrf_of(headers: dict[bytes, bytes], body: bytes) -> str:
    """The CSRF token of a request: in its header, or a field of its form."""
    if CSRF_HEADER in headers:
        return headers[CSRF_HEADER].decode("latin-1")
    kind = headers.get(b"content-type", b"")
    if kind.startswith(b"application/x-www-form-urlencoded"):
        return parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
    if kind.startswith(b"multipart/form-data"):
        # Its first field, so that nothing else of the body has to be read before it is known to be ours.
        head, _, rest = body.partition(b"\r\n\r\n")
        return rest[:64].decode("latin-1") if b'name="csrf"' in head else ""
    return ""


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large, whatever its length was said to be."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY:
            return None
        if not message.get("more_body"):  # Nor has "http.disconnect" any.
            return bytes(body)


def _again(body: bytes) -> Receive:
    delivered = False

    async def receive() -> Message:
        nonlocal delivered
        if delivered:
            return {"type": "http.disconnect"}
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
