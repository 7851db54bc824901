"""Several people behind a reverse proxy: their names count only from the proxy, and appear beside their actions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.people import USER, Proxy, proxy_of
from bench.console.security import Keys
from bench.console.service import Console
from bench.errors import UsageError
from tests.support.console_process import TOKEN

SETTINGS = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"
Opened = Callable[[str], TestClient]


@pytest.fixture
def proxy() -> Proxy:
    proxy = proxy_of("10.0.0.0/24", "X-Forwarded-User")
    assert proxy is not None
    return proxy


@pytest.fixture
def opened(console: Console, proxy: Proxy) -> Opened:
    """A client whose requests come from an address."""
    app = create_app(console, Keys(TOKEN), proxy=proxy)

    def client(address: str) -> TestClient:
        client = TestClient(app, base_url="http://127.0.0.1", client=(address, 1))
        client.headers["authorization"] = f"Bearer {TOKEN}"
        return client

    return client


def test_who_made_and_changed_a_task_is_told_by_the_proxy_alone(opened: Opened, console: Console) -> None:
    new = {"settings": SETTINGS, "title": "a", "start_at": LATER}
    task = opened("10.0.0.9").post("/api/tasks", json=new, headers={"x-forwarded-user": "alice"}).json()
    assert task["by"] == "alice"
    path = f"/api/tasks/{task['id']}"
    opened("10.0.0.9").patch(path, json={"label": "x", "note": "y"}, headers={"x-forwarded-user": "bob"})
    # From any other address, a client could claim any name.
    opened("10.0.1.9").patch(path, json={"title": "b"}, headers={"x-forwarded-user": "mallory"})
    opened("10.0.0.9").patch(path, json={"baseline": True})
    opened("10.0.0.9").post(f"{path}/stop", headers={"x-forwarded-user": "carol"})
    told = opened("10.0.0.9").get(f"{path}/history").json()
    assert [(act["user"], act["what"]) for act in told] == [
        ("alice", "created it"),
        ("alice", "put it into the queue"),
        ("bob", "changed its label, note"),
        (None, "changed its title"),
        (None, "changed its baseline"),
        ("carol", "stopped it"),
    ]
    assert all(act["at"].endswith("+00:00") for act in told)
    for page in ("/", f"/tasks/{task['id']}"):
        assert "alice" in opened("10.0.0.9").get(page).text
        assert "mallory" not in opened("10.0.0.9").get(page).text
    copy = opened("10.0.0.9").post(f"{path}/clone", json={"start": False}, headers={"x-forwarded-user": "dan"}).json()
    assert (copy["by"], {row["id"]: row["by"] for row in opened("10.0.0.9").get("/api/tasks").json()}) == (
        "dan",
        {task["id"]: "alice", copy["id"]: "dan"},
    )
    console.remove(task["id"], files=True)
    assert console.store.acts(task["id"])[-1].what == "deleted it with its files"


@pytest.mark.parametrize(
    ("address", "headers", "user"),
    [
        ("10.0.0.9", [(b"X-Forwarded-User", b" alice ")], "alice"),
        ("10.0.0.9", [(b"x-forwarded-user", b"a" * 300)], "a" * 100),
        ("10.0.0.9", [(b"x-forwarded-user", b"alice"), (b"x-forwarded-user", b"bob")], None),
        ("10.0.0.9", [(b"x-forwarded-user", b"a\x07b")], None),
        ("10.0.0.9", [(b"x-forwarded-user", "José Łoś".encode())], "José Łoś"),
        ("10.0.0.9", [(b"x-forwarded-user", "José".encode("latin-1"))], "José"),
        ("10.0.0.9", [(b"x-forwarded-user", b"")], None),
        ("10.0.0.9", [(b"x-other", b"alice")], None),
        ("10.0.1.9", [(b"x-forwarded-user", b"alice")], None),
        ("testclient", [(b"x-forwarded-user", b"alice")], None),
    ],
)
def test_a_user_is_the_one_name_in_the_header_of_the_proxy(
    address: str, headers: list[tuple[bytes, bytes]], user: str | None, proxy: Proxy
) -> None:
    assert proxy.user(address, headers) == user


def test_wrong_tokens_are_counted_for_the_address_behind_the_proxy(proxy: Proxy) -> None:
    headers = [(b"x-forwarded-for", b"1.2.3.4, 203.0.113.7")]
    assert proxy.sender("10.0.0.9", headers) == "203.0.113.7"
    assert proxy.sender("10.0.0.9", []) == "10.0.0.9"
    assert proxy.sender("198.51.100.1", headers) == "198.51.100.1"


def test_header_and_proxy_come_together() -> None:
    assert proxy_of(None, None) is None
    for address, header, sentence in (
        (None, "X-User", "--trust-user-header needs --trusted-proxy"),
        ("10.0.0.9", None, "--trusted-proxy needs --trust-user-header"),
        ("lab", "X-User", "--trusted-proxy lab: .* write an address, or a network"),
    ):
        with pytest.raises(UsageError, match=sentence):
            proxy_of(address, header)


def test_without_a_proxy_no_header_names_anybody(console: Console) -> None:
    user = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    user.headers |= {"authorization": f"Bearer {TOKEN}", "x-forwarded-user": "alice"}
    task = user.post("/api/tasks", json={"settings": SETTINGS, "start": False}).json()
    assert (task["by"], [act.user for act in console.history(task["id"])]) == (None, [None])
    assert USER.get() is None


def test_what_was_deleted_and_brought_back_stays_in_the_history(console: Console, proxy: Proxy) -> None:
    user = TestClient(
        create_app(console, Keys(TOKEN), proxy=proxy), base_url="http://127.0.0.1", client=("10.0.0.9", 1)
    )
    user.headers |= {"authorization": f"Bearer {TOKEN}", "x-forwarded-user": "alice"}
    first, second = (
        user.post("/api/tasks", json={"settings": SETTINGS, "start": False, "title": title}).json()["id"]
        for title in ("first", "second")
    )
    user.delete(f"/api/tasks/{first}")
    user.headers["x-forwarded-user"] = "bob"
    user.post(f"/api/tasks/{first}/restore")
    user.delete(f"/api/tasks/{second}", params={"files": True})
    of_first = [(act["user"], act["what"]) for act in user.get(f"/api/tasks/{first}/history").json()]
    assert of_first == [("alice", "created it"), ("alice", "deleted it"), ("bob", "brought it back")]
    assert [(act["task"], act["user"], act["what"]) for act in user.get("/api/history", params={"most": 2}).json()] == [
        (second, "bob", "deleted it with its files"),
        (first, "bob", "brought it back"),
    ]
    assert [act["what"] for act in user.get(f"/api/tasks/{second}/history").json()][-1] == "deleted it with its files"
    assert user.get("/api/tasks/never/history").status_code == 404
