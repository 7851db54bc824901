"""The small requests beside a load: their content, and the use of their answers."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.proxy import Proxy
from bench.target import side_requests
from bench.target.models import ModelList, list_models
from bench.target.page_connection import NoPage
from bench.target.server_limits import stated_limits
from bench.transport.interface import Target

TARGET = Target(url="http://h/v1/chat/completions", headers=(("x-a", "b"),))


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        (None, None),
        (b'{"data": [{"id": "a", "owned_by": "vllm"}, {"id": "b"}]}', ModelList(("a", "b"), frozenset({"vllm"}))),
        (b'{"data": [{"id": 3, "owned_by": 4}]}', ModelList(())),
        (b'{"data": []}', ModelList(())),
        (b'{"data": [{}]}', None),
        (b'{"data": 5}', None),
        (b"[]", None),
        (b'{"data": ["a"]}', None),
        (b"<html>", None),
    ],
)
def test_models_are_what_a_list_of_them_says(
    content: bytes | None, listed: ModelList | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def get(*of: object) -> bytes | None:
        asked.append(of)
        return content

    monkeypatch.setattr(side_requests, "get", get)
    assert asyncio.run(list_models(TARGET.url, TARGET, 2.0)) == listed
    assert asked == [("http://h/v1/models", TARGET, 2.0)]


@pytest.mark.parametrize(
    ("owners", "answers", "limits", "asked"),
    [
        ({"llamacpp"}, {"/props": b'{"total_slots": 4}'}, {"max_num_seqs": 4}, ["/props"]),
        ({"sglang"}, {"/get_server_info": b'{"max_running_requests": 8}'}, {"max_num_seqs": 8},
         ["/server_info", "/get_server_info"]),
        ({"sglang"}, {"/server_info": b"{}"}, {}, ["/server_info"]),
        ({"vllm", "me"}, {}, {}, ["/server_info?config_format=json"]),
        # If several engines match, the first that states a limit counts.
        ({"vllm", "llamacpp"}, {"/server_info?config_format=json": b'{"max_num_seqs": 9}'}, {"max_num_seqs": 9},
         ["/props", "/server_info?config_format=json"]),
        ({"me"}, {}, {}, []),
    ],
)  # fmt: skip
def test_an_engine_is_asked_at_its_own_pages(
    owners: set[str],
    answers: dict[str, bytes],
    limits: dict[str, int],
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages: list[str] = []

    async def get(url: str, target: Target, timeout_s: float | None) -> bytes | None:
        pages.append(url.removeprefix("http://h/base"))
        return answers.get(pages[-1])

    monkeypatch.setattr(side_requests, "get", get)
    found = asyncio.run(stated_limits("http://h/base/v1/chat/completions", TARGET, frozenset(owners), None))
    assert (found, pages) == (limits, asked)


class Connection:
    """Records how it was made, and answers."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.closed = False

    def __call__(self, *made_of: object) -> Connection:
        self.made_of = made_of
        return self

    def get(self) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


BASIC = (("authorization", "Basic dTpw"),)
PROXY = Proxy("proxy", 3128, "Basic eDp5")


@pytest.mark.parametrize(
    ("target", "timeout_s", "host", "made_of"),
    [
        (TARGET, None, "h", (TARGET.headers, 10.0, None, None, None)),
        (TARGET, 2.0, "h", (TARGET.headers, 2.0, None, None, None)),
        (Target(url="http://h"), 30.0, "u:p@h", (BASIC, 10.0, None, None, None)),
        (Target(url="http://h", proxy=PROXY), None, "h", ((), 10.0, None, PROXY, None)),
        (Target(url="http://h", address="10.0.0.1"), None, "h", ((), 10.0, None, None, "10.0.0.1")),
    ],
)
def test_a_request_is_sent_like_those_of_its_target(
    target: Target, timeout_s: float | None, host: str, made_of: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(b"content")
    monkeypatch.setattr(side_requests, "PageConnection", connection)
    assert asyncio.run(side_requests.get(f"http://{host}/page", target, timeout_s)) == b"content"
    assert connection.made_of == ("http://h/page", *made_of)
    assert connection.closed


def test_a_page_over_tls_is_asked_for_with_the_certificates_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(b"")
    monkeypatch.setattr(side_requests, "PageConnection", connection)
    assert asyncio.run(side_requests.get("https://h/page", Target(url="https://h", insecure=True))) == b""
    context = connection.made_of[3]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("error", [NoPage("status 404"), ValueError()])
def test_a_page_that_cannot_be_had_is_none(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(error)
    monkeypatch.setattr(side_requests, "PageConnection", connection)
    assert asyncio.run(side_requests.get("http://h/page", TARGET)) is None
    assert connection.closed


def test_a_request_that_is_cancelled_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[bool] = []
    asked, over = threading.Event(), threading.Event()

    class Thread(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            waits.append(wait)
            super().shutdown(wait=False)

    def slow(*_: object) -> bytes:
        asked.set()
        over.wait()
        return b"late"

    monkeypatch.setattr(side_requests, "ThreadPoolExecutor", Thread)
    monkeypatch.setattr(side_requests, "_get", slow)

    async def cancelled() -> None:
        task = asyncio.create_task(side_requests.get("http://h/page", TARGET))
        await asyncio.to_thread(asked.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        asyncio.run(cancelled())
    finally:
        over.set()
    assert waits == [False]
    assert asyncio.run(side_requests.get("http://h/page", TARGET)) == b"late"
    assert waits == [False, True]
