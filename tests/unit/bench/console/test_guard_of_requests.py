"""How the guard treats each request, tested by calls of the ASGI application with a stub behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from bench.console import security
from bench.console.security import Guard, Keys, host_allowed, is_loopback
from tests.support.console_process import TOKEN

with pytest.MonkeyPatch.context() as _patch:  # Test names must be the same in each process.
    _patch.setattr(security, "secret_token", lambda: "a-session-of-the-test")
    KEYS = Keys(TOKEN)
COOKIE = b"trueload_8600=" + KEYS.session.encode()
LOGGED_IN = {b"cookie": b"other=1; " + COOKIE}
BEARER = {b"authorization": b"Bearer " + TOKEN.encode()}
CSRF = KEYS.csrf.encode()
FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=B"


@dataclass
class Reply:
    """`seen`: the messages that the application behind the guard received; None if the guard did not call it."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    seen: list[Message] | None = None
    unread: int = 0

    def header(self, name: bytes) -> list[str]:
        return [value.decode() for key, value in self.headers if key.lower() == name]


def asked(
    method: str = "GET",
    path: str = "/",
    query: bytes = b"",
    headers: dict[bytes, bytes] | None = None,
    pieces: Sequence[bytes] = (b"",),
    answers: Sequence[tuple[bytes, bytes]] = (),
) -> Reply:
    """A request through a guard of port 8600 whose application reads two messages and answers with status 299."""
    reply = Reply()
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status, reply.headers = message["status"], list(message["headers"])
        else:
            reply.body += message["body"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply.seen = [await receive() for _ in range(2)] if scope["method"] == "POST" else []
        await send({"type": "http.response.start", "status": 299, "headers": list(answers)})
        await send({"type": "http.response.body", "body": b"through"})

    scope = {"type": "http", "method": method, "path": path, "query_string": query,
             "headers": [*({b"host": b"127.0.0.1:8600"} | (headers or {})).items()]}  # fmt: skip
    asyncio.run(Guard(app, KEYS, host="Lab", cookie="trueload_8600")(scope, receive, send))
    reply.unread = len(messages)
    return reply


def test_what_is_no_http_goes_through_as_it_is() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        return None

    scope = {"type": "lifespan"}
    asyncio.run(Guard(app, KEYS, host="lab", cookie="c")(scope, receive, send))
    assert seen == [(scope, receive, send)]


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({}, 401),
        ({"headers": LOGGED_IN}, 299),
        ({"headers": BEARER}, 299),
        ({"headers": {b"authorization": b"bEARER " + TOKEN.encode()}}, 299),
        ({"headers": {b"authorization": b"Basic " + TOKEN.encode()}}, 401),
        ({"headers": {b"authorization": b"Bearer wrong"}}, 401),
        ({"headers": {b"authorization": b"Bearer wrong"} | LOGGED_IN}, 299),
        ({"headers": {b"cookie": b"trueload_8600=wrong"}}, 401),
        ({"headers": {b"cookie": COOKIE.replace(b"8600", b"8601")}}, 401),
        ({"headers": {b"cookie": b'theme={"dark": true}; a[]=1; b c=d; ' + COOKIE}}, 299),
        ({"query": b"token=wrong"}, 401),
        ({"query": b"token=wrong", "headers": LOGGED_IN}, 401),
        ({"query": b"token=" + TOKEN.encode()}, 200),
        ({"query": b"token="}, 401),
        ({"query": b"token=", "headers": LOGGED_IN}, 299),
        ({"query": b"a=b", "headers": LOGGED_IN}, 299),
        ({"method": "HEAD", "query": b"token=" + TOKEN.encode()}, 401),
        ({"method": "POST", "query": b"token=" + TOKEN.encode()}, 401),
        ({"method": "POST", "query": b"token=wrong", "headers": BEARER}, 299),
        ({"method": "HEAD", "headers": LOGGED_IN}, 299),
        ({"method": "POST", "headers": LOGGED_IN}, 403),
        ({"method": "DELETE", "headers": LOGGED_IN}, 403),
        ({"method": "POST", "headers": BEARER}, 299),
        ({"path": "/static/console.css"}, 299),
        ({"path": "/static"}, 401),
        ({"path": "/x/static/"}, 401),
        ({"headers": {b"host": b"evil.example"} | BEARER}, 421),
        ({"headers": {b"host": b"evil.example"}, "path": "/static/console.css"}, 421),
        ({"headers": {b"host": b"LAB:80"} | BEARER}, 299),
        ({"headers": {b"host": socket.gethostname().encode()} | BEARER}, 299),
    ],
)
def test_who_may_pass(request_of: dict[str, object], status: int) -> None:
    reply = asked(**request_of)  # type: ignore[arg-type]
    assert reply.status == status
    assert (reply.seen is not None) is (status == 299)


@pytest.mark.parametrize(
    ("method", "site", "mode", "dest", "status"),
    [
        ("GET", b"same-origin", b"cors", b"empty", 299),
        ("GET", b"none", b"navigate", b"document", 299),
        ("POST", b"same-origin", b"navigate", b"document", 299),
        ("GET", b"same-site", b"no-cors", b"script", 403),
        ("GET", b"same-site", b"cors", b"empty", 403),
        ("GET", b"same-site", b"navigate", b"iframe", 403),
        ("GET", b"same-site", b"navigate", b"document", 299),
        ("POST", b"same-site", b"navigate", b"document", 403),
        ("GET", b"cross-site", b"cors", b"empty", 403),
    ],
)
def test_the_cookie_serves_no_page_of_another_port(
    method: str, site: bytes, mode: bytes, dest: bytes, status: int
) -> None:
    fetch = {b"sec-fetch-site": site, b"sec-fetch-mode": mode, b"sec-fetch-dest": dest}
    assert asked(method, headers=LOGGED_IN | fetch | {b"x-csrf-token": CSRF}).status == status
    assert asked(method, headers=BEARER | fetch).status == 299


def test_the_token_of_readers_looks_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(TOKEN, "only-for-looking-at")
    monkeypatch.setitem(globals(), "KEYS", keys)
    bearer = {b"authorization": b"Bearer only-for-looking-at"}
    (cookie,) = asked(query=b"token=only-for-looking-at").header(b"set-cookie")
    value = cookie.partition(";")[0].encode()
    (full,) = asked(query=b"token=" + TOKEN.encode()).header(b"set-cookie")
    assert cookie != full
    for reader in (bearer, {b"cookie": value}, {b"cookie": value, b"authorization": b"Bearer wrong"}):
        assert [asked(method, headers=reader).status for method in ("GET", "HEAD")] == [299, 299]
        for method in ("POST", "PATCH", "DELETE"):
            reply = asked(method, headers=reader | {b"x-csrf-token": keys.csrf.encode()})
            assert (reply.status, b"token is read-only" in reply.body) == (403, True)
    # The token itself does not work as a cookie, where guesses would not be counted. Without a read-only token, the
    # console admits no reader.
    assert asked(headers={b"cookie": b"trueload_8600=only-for-looking-at"}).status == 401
    monkeypatch.setitem(globals(), "KEYS", Keys(TOKEN))
    assert [asked(headers=reader).status for reader in (bearer, {b"cookie": value})] == [401, 401]


@pytest.mark.parametrize(
    ("method", "path", "query", "to"),
    [
        ("GET", "/tasks/a", b"x=1&y=%26", "/tasks/a?x=1&amp;y=%26"),
        ("POST", "/tasks/a/stop", b"", "/tasks/a"),
        ("POST", "/new", b"", "/"),
        ("GET", "//evil.example/x'", b"", "//evil.example/x&#39;"),
    ],
)
def test_a_page_without_the_cookie_asks_for_the_token_and_leads_on(
    method: str, path: str, query: bytes, to: str
) -> None:
    page = asked(method, path, query).body.decode()
    assert f"<input type=hidden name=to value='{to}'>" in page
    assert "<form method=post action=/token" in page
    assert "<input type=password name=token" in page


def test_a_typed_token_sets_the_cookie_and_leads_to_the_page_that_was_asked_for() -> None:
    typed = b"token=" + TOKEN.encode() + b"&to=%2F%2Fevil.example%2Fx"
    reply = asked("POST", "/token", headers={b"content-type": FORM}, pieces=[typed])
    assert reply.header(b"set-cookie") == [f"trueload_8600={KEYS.session}; HttpOnly; Path=/; SameSite=strict"]
    assert b'content="0;url=/evil.example/x"' in reply.body
    assert asked("POST", "/token", pieces=[b"token=wrong"]).status == 401
    assert asked("POST", "/token", pieces=[b"to=/"]).status == 401
    assert asked("POST", "/token", pieces=[b"token=" + b"x" * 5_000]).status == 413
    assert asked("GET", "/token").status == 401


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({b"x-csrf-token": CSRF}, b"", 299),
        ({b"x-csrf-token": CSRF[:-1]}, b"", 403),
        # The header takes precedence over the form field.
        ({b"x-csrf-token": b"wrong", b"content-type": FORM}, b"csrf=" + CSRF, 403),
        ({b"content-type": FORM}, b"a=b&csrf=" + CSRF, 299),
        ({b"content-type": FORM}, b"csrf=wrong&csrf=" + CSRF, 403),
        ({b"content-type": FORM}, b"a=b", 403),
        ({b"content-type": b"text/plain"}, b"csrf=" + CSRF, 403),
        ({}, b"csrf=" + CSRF, 403),
        ({b"content-type": MULTIPART}, b'--B\r\nname="csrf"\r\n\r\n' + CSRF + b"\r\n--B--", 299),
        ({b"content-type": MULTIPART}, b'--B\r\nname="other"\r\n\r\n' + CSRF + b"\r\n--B--", 403),
        ({b"content-type": MULTIPART}, b'--B\r\nname="a"\r\n\r\nx\r\n--B\r\nname="csrf"\r\n\r\n' + CSRF, 403),
        ({b"content-type": b"text/plain"}, b'--B\r\nname="csrf"\r\n\r\n' + CSRF, 403),
    ],
)
def test_a_change_with_the_cookie_needs_the_csrf_token(headers: dict[bytes, bytes], body: bytes, status: int) -> None:
    assert asked("POST", headers=LOGGED_IN | headers, pieces=[body]).status == status


def test_a_body_is_passed_on_whole_and_once() -> None:
    reply = asked("POST", headers=BEARER, pieces=[b"one ", b"", b"two"])
    assert reply.seen == [
        {"type": "http.request", "body": b"one two", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_only_the_api_is_refused_a_body_that_is_not_json() -> None:
    broken = BEARER | {b"content-type": b"application/json"}
    assert [asked("POST", path, headers=broken, pieces=[b"{"]).status for path in ("/api/tasks", "/new")] == [422, 299]


def test_a_body_without_fields_and_one_that_breaks_off_are_read_to_their_end() -> None:
    async def through(*messages: Message) -> bytes | None:
        left = list(messages)

        async def receive() -> Message:
            return left.pop(0)

        return await security._read(receive)

    assert asyncio.run(through({"type": "http.request"})) == b""
    piece = {"type": "http.request", "body": b"ab", "more_body": True}
    assert asyncio.run(through(piece, {"type": "http.disconnect"})) == b"ab"


def test_the_limit_is_65_mib() -> None:
    assert security.MOST_BODY == 68_157_440


@pytest.mark.parametrize(
    ("length", "pieces", "status", "unread"),
    [
        (b"10", [b"x" * 10], 299, 0),
        (b"11", [b"x" * 11], 413, 1),
        (b"-1", [b"x"], 413, 1),
        (b"0" * 5_000 + b"1", [b"x"], 413, 1),
        (None, [b"x" * 10], 299, 0),
        (None, [b"x" * 5, b"x" * 5], 299, 0),
        (b"1", [b"x" * 5, b"x" * 6, b"x"], 413, 1),
    ],
)
def test_a_body_has_at_most_the_limit(
    length: bytes | None, pieces: list[bytes], status: int, unread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MOST_BODY", 10)
    headers = BEARER | ({} if length is None else {b"content-length": length})
    reply = asked("POST", headers=headers, pieces=pieces)
    assert (reply.status, reply.unread) == (status, unread)


def test_the_page_that_lets_in_sets_the_cookie_and_leads_to_the_address_without_the_token() -> None:
    reply = asked(path="/tasks/a", query=b"x=1&token=" + TOKEN.encode() + b"&y=%26")
    (cookie,) = reply.header(b"set-cookie")
    assert cookie == f"trueload_8600={KEYS.session}; HttpOnly; Path=/; SameSite=strict"
    target = b"/tasks/a?x=1&amp;y=%26"
    assert b'content="0;url=%b"><a href="%b">' % (target, target) in reply.body
    plain = asked(path="//evil.example/x", query=b"token=" + TOKEN.encode())
    assert b'content="0;url=/evil.example/x"' in plain.body


@pytest.mark.parametrize("path", ["/api/tasks", "/tasks", "/apis"])
def test_a_refusal_is_json_for_a_program_and_a_page_for_a_reader(path: str) -> None:
    reply = asked(path=path)
    if path == "/api/tasks":
        assert orjson.loads(reply.body) == {"error": "open the URL that the console printed: it holds the token"}
    else:
        assert b"<p>Open the URL that the console printed: it holds the token.</p>" in reply.body
    assert (reply.status, reply.header(b"x-content-type-options")) == (401, ["nosniff"])


def test_headers_are_added_where_the_application_has_none_of_the_name() -> None:
    reply = asked(headers=BEARER, answers=[(b"X-One", b"1"), (b"Content-Security-Policy", b"sandbox")])
    assert reply.body == b"through"
    assert reply.headers[0] == (b"X-One", b"1")
    assert reply.header(b"content-security-policy") == ["sandbox"]
    assert {name: reply.header(name) for name in (b"x-content-type-options", b"referrer-policy", b"cache-control")} == {
        b"x-content-type-options": ["nosniff"], b"referrer-policy": ["no-referrer"], b"cache-control": ["no-store"],
    }  # fmt: skip
    (policy,) = asked(headers=BEARER).header(b"content-security-policy")
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("127.0.0.1:8600", True),
        ("[::1]:8600", True),
        ("10.0.0.7", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("lab:1", True),
        ("lab.evil.example", False),
        ("", False),
        (":8600", False),
        ("localhost:many", False),
        ("127.0.0.1:70000", False),
        ("[::1", False),
    ],
)
def test_a_host_is_an_address_or_a_name_of_this_console(header: str, allowed: bool) -> None:
    assert host_allowed(header, {"lab"}) is allowed


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("lab", False)],
)
def test_a_loopback_host_is_reached_from_this_machine_alone(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


def test_a_token_is_the_given_one_or_a_secret_of_its_own() -> None:
    assert Keys("given").token == "given"
    drawn = [Keys(), Keys(""), Keys(None)]
    assert all(len(keys.token) >= security.SHORTEST_TOKEN for keys in drawn)
    assert len({key for keys in drawn for key in (keys.token, keys.session, keys.csrf)}) == 9
    assert security.SHORTEST_TOKEN == 12


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 299),
        (LOGGED_IN | {b"x-csrf-token": CSRF}, 299),
        (LOGGED_IN, 403),
        (LOGGED_IN | {b"x-csrf-token": b"wrong"}, 403),
        ({}, 401),
    ],
)
def test_the_bytes_of_an_upload_go_through_unread(headers: dict[bytes, bytes], status: int) -> None:
    huge = {b"content-length": b"2147483648"}
    reply = asked("PUT", "/api/uploads/0123456789abcdef", headers=headers | huge, pieces=[b"x", b"y"])
    assert (reply.status, reply.unread) == (status, 2)
    assert asked("PUT", "/api/files", headers=headers | huge).status in (413, status if status != 299 else 413)


@pytest.mark.parametrize("site", [b"same-site", b"cross-site"])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [(b"Bearer " + TOKEN.encode(), 299), (b"bearer " + TOKEN.encode(), 299), (b"Bearer wrong", 403),
     (b"Basic " + TOKEN.encode(), 403), (b"", 403)],
)  # fmt: skip
def test_a_program_with_the_token_may_also_send_the_cookie(site: bytes, authorization: bytes, status: int) -> None:
    headers = LOGGED_IN | {b"sec-fetch-site": site, b"authorization": authorization}
    assert asked(headers=headers).status == status
    # The token makes a change without the CSRF token of a page.
    assert asked("POST", headers=headers).status == status


@pytest.mark.parametrize(
    ("fetch", "method", "status"),
    [
        ({b"sec-fetch-site": b"same-origin"}, "GET", 299),
        ({b"sec-fetch-site": b"none"}, "GET", 299),
        ({b"sec-fetch-site": b"cross-site"}, "GET", 403),
        (
            {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"},
            "GET",
            299,
        ),
        (
            {b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"},
            "HEAD",
            299,
        ),
        (
            {b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"},
            "POST",
            403,
        ),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"iframe"}, "GET", 403),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"cors", b"sec-fetch-dest": b"document"}, "GET", 403),
    ],
)
def test_of_requests_from_elsewhere_only_a_followed_link_comes_through(
    fetch: dict[bytes, bytes], method: str, status: int
) -> None:
    assert asked(method, headers=LOGGED_IN | {b"x-csrf-token": CSRF} | fetch).status == status
