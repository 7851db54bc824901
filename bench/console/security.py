"""Access control over HTTP. Every request passes here before any route sees it.

Host header    an IP address, localhost or a configured name: any other name is DNS rebinding
token          once in the URL or typed into a page, then a cookie that scripts cannot read and other sites cannot send; or as
               a bearer token. Wrong ones are counted (guesses.py)
origin         a request with the cookie comes from a page of this console: cookies go to every port of a host, and pages of
               its other ports are the same site
CSRF token     required for every change made with the cookie; no browser sends a bearer token by itself
body           limited in size as it arrives; JSON that every part of the console can read and store
headers        only our own scripts, no framing, caching only of static files
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from hashlib import sha256
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import orjson
from markupsafe import Markup, escape
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.console.error_page import error_page
from bench.console.guesses import Guesses
from bench.console.language import shown, tr
from bench.console.people import READ_ONLY, USER, Proxy
from bench.rng import secret_token

CSRF_FIELD, CSRF_HEADER = "csrf", b"x-csrf-token"
MOST_BODY = 65 * 1024 * 1024
"""Bytes of a request: an upload with the form around it."""
_LENGTH = re.compile(rb"\d{1,18}")
"""A length that Python can parse: it refuses integers of over 4,300 digits."""
STREAMED = ("PUT", "/api/uploads/")
"""Requests whose bodies are not kept in memory. Their routes limit the size as the body arrives."""
SAFE = ("GET", "HEAD")
OPEN_PATHS = ("/static/",)
"""Paths with the same content for everyone: styles and scripts."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""A report is a page with an inline script. The sandbox gives it no cookie and no access to the console."""
COMMON_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


LET_IN = "/token"
"""Where the form of a typed token posts to."""
MOST_TYPED = 4_096
"""Bytes of that form."""

SHORTEST_TOKEN = 12
"""Characters. A shorter token could be guessed."""
LEAST_UNLIKE = 5
"""Distinct characters of a token apart from known words and sequences."""
_KNOWN = re.compile(
    "password|passwort|trueload|letmein|changeme|welcome|console|qwerty|qwertz|secret|bench|admin|token|asdf|test|user|root"
)


def token_problem(token: str) -> str | None:
    """Why a token that a user chose is refused, as the end of a sentence. Returns None if it is acceptable."""
    if len(token) < SHORTEST_TOKEN:
        return f"needs at least {SHORTEST_TOKEN} characters (given: {len(token)})"
    if not (token.isascii() and token.isprintable()):
        return "may have only ASCII letters, digits and signs: a bearer token can have no others"
    left = _KNOWN.sub(" ", token.lower())
    # A character that continues a sequence (12345, aaaa, 987) adds nothing.
    unlike = {b for a, b in zip(" " + left, left, strict=False) if b.isalnum() and not -1 <= ord(b) - ord(a) <= 1}
    if len(unlike) < LEAST_UNLIKE:
        return "is easy to guess (known words, rows of characters, or few different ones): choose another"
    return None


class Keys:
    """The token of users, the token of readers, and the secrets derived for one life of the console."""

    def __init__(self, token: str | None = None, read_token: str | None = None) -> None:
        self.token = token or secret_token()
        self._read_token = read_token
        self.session = secret_token()
        """The value of the cookie: of no use after the console has ended."""
        self._read_session = hmac.new(self.session.encode(), b"read", sha256).hexdigest()
        self.csrf = hmac.new(self.session.encode(), b"csrf", sha256).hexdigest()

    def session_of(self, token: str) -> str:
        """The value of the cookie for either token."""
        return self.session if self.is_token(token) else self._read_session

    def is_read_token(self, token: str) -> bool:
        return self._read_token is not None and hmac.compare_digest(token.encode(), self._read_token.encode())

    def is_read_session(self, session: str) -> bool:
        return self._read_token is not None and hmac.compare_digest(session.encode(), self._read_session.encode())

    def is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def is_session(self, session: str) -> bool:
        return hmac.compare_digest(session.encode(), self.session.encode())

    def is_csrf(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.csrf.encode())


def is_loopback(host: str) -> bool:
    """Whether a console that listens there is reachable only from this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_allowed(header: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this console. A foreign DNS name that resolves to this machine does not."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
        urlsplit(f"//{header}").port  # noqa: B018 (raises for an invalid port)
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
    """ASGI middleware with every rule of this file. `cookie` is the name of the cookie, different for each port."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        *,
        host: str,
        cookie: str,
        secure: bool = False,
        proxy: Proxy | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._secure, self._proxy = secure, proxy
        self._guesses = Guesses() if say is None else Guesses(say)
        self._app = app
        self._keys = keys
        self._names = frozenset({host.lower(), socket.gethostname().lower()})
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer refused requests and pass on the others."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused, receive = await self._judge(scope, receive)
        if self._proxy is not None:
            USER.set(self._proxy.user(_address(scope), scope["headers"]))
        send = _with_headers(send)
        await (self._app if refused is None else refused)(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        headers = dict(scope["headers"])
        if not host_allowed(headers.get(b"host", b"").decode("latin-1"), self._names):
            return _refusal(scope, 421, tr("the Host header is not the address of this console")), receive
        if scope["path"].startswith(OPEN_PATHS):
            return None, receive
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if (token := query.get("token", [""])[0]) and scope["method"] == "GET":
            refused = await self._wrong(scope, token, tr("the token in the URL is not the token of this console"))
            return refused or self._let_in(_without_token(scope), token), receive
        if (scope["path"], scope["method"]) == (LET_IN, "POST"):
            return await self._typed(scope, receive), receive
        secret, refused = await self._who(scope, headers)
        if refused is not None:
            return refused, receive
        reads = self._keys.is_read_token(secret) or self._keys.is_read_session(secret)
        READ_ONLY.set(reads)
        if reads and scope["method"] not in SAFE:
            return _refusal(scope, 403, tr("this token is read-only: use the other one to change things")), receive
        if (scope["method"], scope["path"][: len(STREAMED[1])]) == STREAMED:
            return self._foreign(scope, secret, headers, b""), receive
        length = headers.get(b"content-length", b"0")
        if _LENGTH.fullmatch(length) is None or int(length) > MOST_BODY:
            return _refusal(scope, 413, tr("a request has at most %(mib)s MiB", mib=MOST_BODY // 2**20)), receive
        if scope["method"] in SAFE:
            return None, receive
        body = await _read(receive)
        if body is None:
            return _refusal(scope, 413, tr("a request has at most %(mib)s MiB", mib=MOST_BODY // 2**20)), receive
        if scope["path"].startswith("/api/") and not _readable(headers, body):
            return _refusal(scope, 422, tr("the body is not JSON in UTF-8, or has a number that is too large")), receive
        return self._foreign(scope, secret, headers, body), _again(body)

    def _foreign(self, scope: Scope, secret: str, headers: dict[bytes, bytes], body: bytes) -> Response | None:
        """Refuse a change that comes with the cookie but without a page's CSRF token."""
        if self._keys.is_token(secret) or self._keys.is_csrf(_csrf_of(headers, body)):
            return None
        return _refusal(scope, 403, tr("the form is from before the console restarted: load the page again"))

    async def _who(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[str, Response | None]:
        """The bearer token or the cookie of a request, and the refusal if it has neither."""
        scheme, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        cookie = _cookie_value(headers.get(b"cookie", b""), self._cookie)
        if self._keys.is_session(cookie) or self._keys.is_read_session(cookie):
            if scheme.lower() == "bearer" and self._keys.is_token(bearer):
                return bearer, None
            if _from_elsewhere(scope, headers):
                elsewhere = tr("this request comes from a page of another site: open it from here")
                return "", _refusal(scope, 403, elsewhere)
            return cookie, None
        if scheme.lower() != "bearer":
            return "", _refusal(scope, 401, tr("open the URL that the console printed: it holds the token"))
        return bearer, await self._wrong(scope, bearer, tr("this is not the token of this console"))

    async def _wrong(self, scope: Scope, token: str, sentence: str) -> Response | None:
        """Check a token. Returns the refusal, or None for a correct token from a sender that is not locked out."""
        clock, sender = LoopClock(), _address(scope)
        if self._proxy is not None:
            sender = self._proxy.sender(sender, scope["headers"])
        if locked_ns := self._guesses.locked_ns(sender, clock.now_ns()):
            wait_s = -(-locked_ns // NS_PER_S)
            sentence = tr("too many wrong tokens came from your address: try again in %(s)s s", s=wait_s)
            refused = _refusal(scope, 429, sentence)
            refused.headers["retry-after"] = str(wait_s)
            return refused
        if self._keys.is_token(token) or self._keys.is_read_token(token):
            return None
        if late_ns := self._guesses.wrong(sender, clock.now_ns()):
            await sleep_until(clock, clock.now_ns() + late_ns)
        return _refusal(scope, 401, sentence)

    async def _typed(self, scope: Scope, receive: Receive) -> Response:
        """Answer a token that was typed into a page. The form includes the requested address."""
        body = await _read(receive, MOST_TYPED)
        if body is None:
            return _refusal(scope, 413, tr("this is too long for a token"))
        typed = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        token = typed.get("token", "").strip()
        refused = await self._wrong(scope, token, tr("this is not the token of this console"))
        return refused or self._let_in(typed.get("to", "/"), token)

    def _let_in(self, address: str, token: str) -> Response:
        """Set the cookie and lead to an address of this console, given without its host."""
        to = escape("/" + address.lstrip("/\\"))
        # Not a redirect: after one that began on another site or in a file, browsers would not send the strict cookie.
        reply = HTMLResponse(
            "<!doctype html><meta charset=utf-8><link rel=icon href=data:,>"
            f'<meta http-equiv=refresh content="0;url={to}"><a href="{to}">{escape(shown(tr("Continue")))}</a>'
        )
        session = self._keys.session_of(token)
        reply.set_cookie(self._cookie, session, httponly=True, samesite="strict", path="/", secure=self._secure)
        return reply


def _address(scope: Scope) -> str:
    """The client address of a request."""
    return str((scope.get("client") or ("unknown",))[0])


def _without_token(scope: Scope) -> str:
    """The address of a request without the token, which must not stay in the browser's history."""
    query = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
    return str(scope["path"]) + (f"?{urlencode(query)}" if query else "")


def _from_elsewhere(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of another port or site sent a request, other than by a link that the user followed."""
    if headers.get(b"sec-fetch-site") not in (b"same-site", b"cross-site"):
        return False
    followed = (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == (b"navigate", b"document")
    return not (followed and scope["method"] in SAFE)


def _asked_for(scope: Scope) -> str:
    """Where a user continues after typing the token: the requested page, or the page of the task that was to be changed."""
    if scope["method"] in SAFE:
        return _without_token(scope)
    return "/".join(scope["path"].split("/")[:3]) if scope["path"].startswith("/tasks/") else "/"


def _refusal(scope: Scope, status: int, sentence: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": shown(sentence)}, status_code=status)
    form = Markup(
        f"<form method=post action={LET_IN} class=stack><input type=hidden name=to value='{{}}'>"
        "<label>{} <input type=password name=token required autocomplete=off></label>"
        "<button class=primary>{}</button></form>"
    ).format(_asked_for(scope), shown(tr("Or type the token here")), shown(tr("Open")))
    if status == 401:
        return error_page(status, tr("Sign in"), sentence, form)
    return error_page(status, tr("Not here"), sentence, Markup())


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
    # Parsed as browsers do: other programs on this host set cookies too, and a brace in one stops `http.cookies`.
    return cookie_parser(header.decode("latin-1")).get(name, "")


def _csrf_of(headers: dict[bytes, bytes], body: bytes) -> str:
    """The CSRF token of a request: from its header, or from a field of its form."""
    if CSRF_HEADER in headers:
        return headers[CSRF_HEADER].decode("latin-1")
    kind = headers.get(b"content-type", b"")
    if kind.startswith(b"application/x-www-form-urlencoded"):
        return parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
    if kind.startswith(b"multipart/form-data"):
        # The first field, so that the rest of the body need not be parsed before the request is known to be ours.
        head, _, rest = body.partition(b"\r\n\r\n")
        return rest[:64].decode("latin-1") if b'name="csrf"' in head else ""
    return ""


def _readable(headers: dict[bytes, bytes], body: bytes) -> bool:
    """Whether a body declared as JSON can be read and stored. Python's own parser also accepts lone surrogates, which
    no file or database stores."""
    if b"json" not in headers.get(b"content-type", b""):
        return True
    try:
        orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return False
    return True


async def _read(receive: Receive, most: int | None = None) -> bytes | None:
    """Read the whole body. Returns None if it exceeds `most` bytes, whatever its declared length."""
    most = MOST_BODY if most is None else most
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):  # "http.disconnect" has no more_body either.
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
