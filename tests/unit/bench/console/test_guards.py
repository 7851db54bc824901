"""Guards of the console that no response reveals: what is compared, read or checked before a request is refused."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from bench.console.errors import Conflict, ConsoleError, DiskProblem, NotFound, Refused, TooLarge
from bench.console.fetching import fetch
from bench.console.security import MOST_BODY, Guard, Keys
from bench.console.store import Store
from bench.console.tasks import TaskFolder
from tests.support.made_tasks import made_run

TOKEN = "a-token-of-the-test"


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(*_: object) -> None:
        raise AssertionError("it came through")

    headers = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + TOKEN.encode())]
    for length in (b"%d" % (MOST_BODY + 1), b"many"):
        sent.clear()
        scope = {"type": "http", "method": "POST", "path": "/api/files", "query_string": b"",
                 "headers": [*headers, (b"content-length", length)]}  # fmt: skip
        asyncio.run(Guard(app, Keys(TOKEN), host="127.0.0.1", cookie="c")(scope, receive, send))
        assert sent[0]["status"] == 413
        assert b"a request has at most 65 MiB" in sent[1]["body"]


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []

    def noted(a: object, b: object) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", noted)
    keys = Keys(TOKEN)
    assert [keys.is_token(TOKEN), keys.is_session(keys.session), keys.is_csrf(keys.csrf)] == [True] * 3
    assert [keys.is_token("x"), keys.is_session("x"), keys.is_csrf("x")] == [False] * 3
    assert len(compared) == 6


def test_without_a_token_of_readers_no_session_is_theirs() -> None:
    with_readers, without = Keys(TOKEN, "a-token-of-readers"), Keys(TOKEN)
    assert with_readers.is_read_session(with_readers.session_of("a-token-of-readers"))
    assert not with_readers.is_read_session(with_readers.session_of(TOKEN))
    assert not without.is_read_session(without.session_of("a-token-of-readers"))


@pytest.mark.parametrize("run", ["..", ".", "../b", "/etc", "01/../../b", "", "link", "missing", ".console"])
def test_no_run_of_a_search_leads_out_of_its_directory(run: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made_run(runs, "a")
    made_run(runs / "a", "01-scout-1")
    made_run(runs / "a", ".console")
    made_run(runs, "b")
    (runs / "a" / "link").symlink_to(runs / "b")
    store = Store(runs / ".console" / "console.sqlite")
    folder = TaskFolder(runs, store)
    assert folder.file("a", "report.html", "01-scout-1").is_file()
    with pytest.raises(NotFound):
        folder.run("a", run)
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://data/x.jsonl",
        "file://data/etc/passwd",
        "gopher://data:70/",
        "//data/x",
        "x",
        "http://a\r\nb/",
        "http://\0/",
        "http://[x/",
        "http://a:b/",
    ],
)
def test_nothing_but_http_is_fetched(url: str) -> None:
    async def main() -> None:
        answer = httpx.MockTransport(lambda request: httpx.Response(200, content=b"secret"))
        async with httpx.AsyncClient(transport=answer) as client:
            await fetch(url, client)

    with pytest.raises(ConsoleError, match="http:// or https://"):
        asyncio.run(main())


def test_each_refusal_has_the_status_that_http_has_for_it() -> None:
    statuses: dict[type[ConsoleError], int] = {
        ConsoleError: 400, NotFound: 404, Conflict: 409, TooLarge: 413, Refused: 422, DiskProblem: 507
    }  # fmt: skip
    assert {refusal: refusal.status for refusal in statuses} == statuses
