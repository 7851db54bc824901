"""The small requests beside a load: their content, and the use of their answers."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from contextlib import nullcontext
from email.message import Message
from http.client import HTTPException
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.response import addinfourl

import pytest

from bench.proxy import Proxy
from bench.target import side_requests
from bench.target.models import ModelList, list_models
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


class Opener:
    """Records the request, its timeout and the handlers, and answers."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer

    def __call__(self, *handlers: urllib.request.BaseHandler) -> Opener:
        self.handlers = handlers
        return self

    def open(self, request: urllib.request.Request, timeout: float) -> Any:
        self.request, self.timeout_s = request, timeout
        if isinstance(self.answer, Exception):
            raise self.answer
        content = self.answer
        return nullcontext(SimpleNamespace(read=lambda most: content[:most]))


@pytest.mark.parametrize(
    ("target", "timeout_s", "host", "headers", "waits_s"),
    [
        (TARGET, None, "h", {"X-a": "b"}, 10.0),
        (TARGET, 2.0, "h", {"X-a": "b"}, 2.0),
        (Target(url="http://h"), 30.0, "u:p@h", {"Authorization": "Basic dTpw"}, 10.0),
        (Target(url="http://h", proxy=Proxy("proxy", 3128, "Basic eDp5")), None, "h",
         {"Proxy-authorization": "Basic eDp5"}, 10.0),
    ],
)  # fmt: skip
def test_a_request_has_the_headers_of_its_target(
    target: Target, timeout_s: float | None, host: str, headers: dict[str, str], waits_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    opener = Opener(b"content")
    monkeypatch.setattr(urllib.request, "build_opener", opener)
    assert asyncio.run(side_requests.get(f"http://{host}/page", target, timeout_s)) == b"content"
    assert opener.request.headers == {"User-agent": "trueload", **headers}
    assert (opener.request.full_url, opener.timeout_s) == ("http://h/page", waits_s)
    assert opener.request.host == ("h" if target.proxy is None else "proxy:3128")
    proxies, _ = opener.handlers
    assert proxies.proxies == {}  # type: ignore[attr-defined]  # Not those of the environment.


def test_a_page_over_tls_is_asked_for_with_the_certificates_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = Opener(b"")
    monkeypatch.setattr(urllib.request, "build_opener", opener)
    assert asyncio.run(side_requests.get("https://h/page", Target(url="https://h", insecure=True))) == b""
    *_, secure = opener.handlers
    assert secure._context.verify_mode == ssl.CERT_NONE  # type: ignore[attr-defined]


def test_a_redirect_is_not_followed_so_that_no_other_server_gets_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Elsewhere(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            asked.append(req.full_url)
            headers = Message()
            headers["location"] = "http://elsewhere/page"
            reply = addinfourl(BytesIO(b""), headers, req.full_url, 302)
            reply.msg = "Found"  # type: ignore[attr-defined]
            return reply

    real = urllib.request.build_opener
    monkeypatch.setattr(urllib.request, "build_opener", lambda *handlers: real(Elsewhere(), *handlers))
    assert asyncio.run(side_requests.get("http://h/page", TARGET)) is None
    assert asked == ["http://h/page"]


@pytest.mark.parametrize("error", [OSError(), ValueError(), HTTPException()])
def test_a_page_that_cannot_be_had_is_none(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "build_opener", Opener(error))
    assert asyncio.run(side_requests.get("http://h/page", TARGET)) is None
