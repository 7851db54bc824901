"""Access control: keys, /admin, origins; and the versions of a changing configuration."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect.access import require_admin, require_key
from mockserver.dialect.cors import cors_headers
from mockserver.dialect.refusals import Refusal
from mockserver.errors import UsageError
from mockserver.settings import Settings
from mockserver.workers.shared_state import SharedState


def request(peer: str | None = "127.0.0.1", **headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "path": "/admin/config", "headers": raw, "client": None if peer is None else (peer, 5)}
    )


def status(check: Any, *arguments: Any) -> int:
    try:
        check(*arguments)
    except Refusal as e:
        return e.status
    return 200


@pytest.mark.parametrize(
    ("keys", "header", "expected"),
    [
        ((), None, 200),
        (("a", "b"), "Bearer a", 200),
        (("a", "b"), "Bearer b", 200),
        (("a", "b"), "Bearer ab", 401),
        (("a", "b"), "b", 401),
        (("a",), None, 401),
        (("a",), "Bearer ", 401),
    ],
)
def test_any_of_the_keys_opens(keys: tuple[str, ...], header: str | None, expected: int) -> None:
    headers = {} if header is None else {"authorization": header}
    assert status(require_key, request(**headers), MockConfig(api_key=keys)) == expected


@pytest.mark.parametrize(
    ("admin", "peer", "headers", "expected"),
    [
        ("loopback", "127.0.0.1", {}, 200),
        ("loopback", "::1", {}, 200),
        ("loopback", "::ffff:127.0.0.1", {}, 200),
        ("loopback", "192.0.2.7", {}, 403),
        ("loopback", "::ffff:192.0.2.7", {}, 403),
        ("loopback", None, {}, 403),
        ("loopback", "localhost.example", {}, 403),
        ("everyone", "192.0.2.7", {}, 200),
        ("nobody", "127.0.0.1", {}, 404),
        # A page of any site may send a request to this machine. Only the browser knows that, and sends the page's
        # origin.
        ("loopback", "127.0.0.1", {"origin": "https://evil.example"}, 403),
        ("loopback", "127.0.0.1", {"origin": "http://ui.example"}, 200),
        # A page whose name was rebound to this machine sends its own name as host, not the origin of another site.
        ("loopback", "127.0.0.1", {"host": "evil.example:8000"}, 403),
        ("loopback", "127.0.0.1", {"host": "localhost:8000"}, 200),
        ("loopback", "127.0.0.1", {"host": "[::1]:8000"}, 200),
    ],
)
def test_admin_is_for_whom_it_is_open(admin: Any, peer: str | None, headers: dict[str, str], expected: int) -> None:
    config = MockConfig(admin=admin, cors=("http://ui.example",))
    assert status(require_admin, request(peer, **headers), config) == expected


@pytest.mark.parametrize(
    ("allowed", "bound", "host", "expected"),
    [
        (("*",), "127.0.0.1", "evil.example", 200),
        (("ours.example",), "127.0.0.1", "ours.example:8000", 200),
        (("ours.example",), "127.0.0.1", "OURS.example.", 200),
        (("ours.example",), "127.0.0.1", "evil.example", 403),
        ((), "Bound.example", "bound.example", 200),
        ((), "127.0.0.1", "a.localhost", 200),
        ((), "127.0.0.1", "LOCALHOST", 200),
        ((), "127.0.0.1", "alocalhost", 403),
        ((), "127.0.0.1", "127.0.0.1.evil.example", 403),
        ((), "127.0.0.1", "localhost.evil.example", 403),
        ((), "127.0.0.1", "192.0.2.7:80", 200),
        ((), "127.0.0.1", "[2001:db8::1]", 200),
        ((), "127.0.0.1", socket.gethostname(), 200),
    ],
)
def test_a_host_name_is_trusted_if_it_is_of_this_machine_or_allowed(
    allowed: tuple[str, ...], bound: str, host: str, expected: int
) -> None:
    config = MockConfig(allowed_host=allowed, host=bound)
    assert status(require_admin, request(host=host), config) == expected


def test_admin_needs_the_key_too_where_there_is_one() -> None:
    config = MockConfig(api_key=("a",))
    assert status(require_admin, request(), config) == 401
    assert status(require_admin, request(authorization="Bearer a"), config) == 200


@pytest.mark.parametrize(
    ("origin", "allowed", "shown"),
    [
        (None, ("*",), None),
        ("http://a.example", (), None),
        ("http://a.example", ("http://b.example",), None),
        ("http://a.example", ("http://b.example", "http://a.example"), "http://a.example"),
        ("http://a.example", ("*",), "http://a.example"),
    ],
)
def test_an_origin_is_answered_when_it_may_call(
    origin: str | None, allowed: tuple[str, ...], shown: str | None
) -> None:
    headers = dict(cors_headers(origin, allowed))
    assert headers.get("access-control-allow-origin") == shown
    assert ("vary" in headers) == (shown is not None)


@pytest.fixture
def shared() -> Iterator[SharedState]:
    state = SharedState()
    yield state
    state.close()


def test_each_change_is_a_version_that_says_since_when_it_holds(shared: SharedState) -> None:
    settings = Settings(MockConfig(ttft="9ms"), shared, since_ns=100)
    assert not settings.sync()
    settings.change({"ttft": "1ms"}, since_ns=200, from_line=7)
    assert not settings.sync()
    settings.change({"fault": ["429"]}, since_ns=300, from_line=9)
    assert not settings.sync()
    assert [(v["version"], v["since_ns"], v["from_line"]) for v in settings.history()] == [
        (0, 100, 0), (1, 200, 7), (2, 300, 9),
    ]  # fmt: skip
    assert [v["config"]["ttft"] for v in settings.history()] == ["9ms", "1ms", "1ms"]
    assert str(settings.current.latencies.ttft) == "1ms"
    assert (settings.current.number, [str(rule) for rule in settings.current.config.fault]) == (2, ["429"])


def test_what_one_process_changes_another_puts_in_force(shared: SharedState) -> None:
    one, other = (Settings(MockConfig(itl="1ms"), shared, since_ns=0) for _ in range(2))
    one.change({"itl": None, "output_tokens": "uniform:1..9"}, 1, 1)
    assert not other.sync()
    assert (other.current.number, other.current.latencies.itl, str(other.current.latencies.output_tokens)) == (
        1,
        None,
        "uniform:1..9",
    )
    one.sync()
    one.restart(2, 2)
    assert other.sync()  # The change is reported once.
    assert not other.sync()
    assert (other.current.number, str(other.current.latencies.itl)) == (2, "1ms")
    one.sync()
    assert other.history() == one.history()


def test_a_restart_forgets_the_attempts_and_the_counters(shared: SharedState) -> None:
    settings = Settings(MockConfig(), shared, since_ns=0)
    assert [shared.attempt("a"), shared.attempt("a"), shared.take("replies"), shared.take("replies")] == [1, 2, 0, 1]
    settings.restart(1, 1)
    assert [shared.attempt("a"), shared.take("replies")] == [1, 0]


def test_a_bad_change_changes_nothing(shared: SharedState) -> None:
    settings = Settings(MockConfig(), shared, since_ns=0)
    with pytest.raises(UsageError):
        settings.change({"ttft": "1ms", "tpot": "x"}, 1, 1)
    settings.sync()
    assert (settings.current.number, str(settings.current.config.ttft), len(settings.history())) == (0, "50ms", 1)


def test_a_mock_that_is_changed_for_ever_does_not_grow(shared: SharedState) -> None:
    settings = Settings(MockConfig(), shared, since_ns=0)
    for i in range(300):
        settings.change({"output_tokens": i + 1}, i, i)
        settings.sync()
    assert settings.current.number == 300
    assert len(settings.history()) == 100


def test_long_changes_leave_a_shorter_history_and_one_too_long_is_refused(shared: SharedState) -> None:
    settings = Settings(MockConfig(), shared, since_ns=0)
    long = f"429:{',' * 300_000}"
    for i in range(4):
        settings.change({"fault": long}, i, i)
        settings.sync()
    assert [row["version"] for row in settings.history()] == [3, 4]
    with pytest.raises(UsageError, match="write fewer faults"):
        settings.change({"fault": [long] * 4}, 4, 4)
    settings.restart(5, 5)
    assert settings.sync()
