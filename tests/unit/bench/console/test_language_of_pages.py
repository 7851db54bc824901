"""The language of a page follows the browser or the reader's choice. Programs always get English."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.language import COOKIE, LANGUAGE, PARAMETER, InLanguage, sentence, tr
from bench.console.pages.site import load
from bench.console.security import Keys
from bench.console.service import Console
from tests.support.console_process import TOKEN

CHINESE = {"accept-language": "zh-CN,zh;q=0.9"}


@pytest.fixture
def user(tmp_path: Path) -> Iterator[TestClient]:
    console = Console(tmp_path / "runs")
    client = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    client.headers["authorization"] = f"Bearer {TOKEN}"
    yield client
    console.close()


def test_a_page_comes_in_the_language_that_the_browser_asks_for(user: TestClient) -> None:
    assert '<html lang="en">' in user.get("/new").text
    page = user.get("/new", headers=CHINESE).text
    assert '<html lang="zh-CN">' in page
    assert re.findall("<h1>(.*)</h1>", page) == ["新建任务"]
    assert "单个任务" in user.get("/api", headers=CHINESE).text  # Descriptions from the API's routes.
    # Labels from the settings, and placeholders made of words, are translated; placeholders that are values are not.
    assert '<label for="f-concurrency">并发用户数</label>' in page
    assert 'placeholder="服务器列出的模型"' in page
    assert 'placeholder="wire"' in page


def test_the_switch_leads_to_the_same_page_and_is_kept(user: TestClient) -> None:
    link = re.search(
        r'id="language" hidden href="([^"]*)" lang="([^"]*)"', user.get("/new?kind=search&target=a%26b").text
    )
    assert link is not None
    assert link[2] == "zh-CN"
    reply = user.get(f"/new{unescape(link[1])}", follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "/new?kind=search&target=a%26b")
    assert f"{COOKIE}=zh-CN" in reply.headers["set-cookie"]
    # The reader's choice, in a cookie, wins over the browser's language.
    assert '<html lang="zh-CN">' in user.get("/new", headers={"accept-language": "en"}).text
    user.get(f"/new?{PARAMETER}=en")
    assert '<html lang="en">' in user.get("/new", headers=CHINESE).text


@pytest.mark.parametrize("path", ["//example.com/", "/\\example.com/"])
def test_the_switch_leads_to_no_other_host(path: str, user: TestClient) -> None:
    reply = user.get(f"http://127.0.0.1{path}?{PARAMETER}=en", follow_redirects=False)
    assert not reply.headers.get("location", "/").startswith(("//", "/\\", "/%5C"))


def test_a_language_that_there_is_not_is_no_choice(user: TestClient) -> None:
    reply = user.get(f"/?{PARAMETER}=de", follow_redirects=False)
    assert (reply.status_code, reply.headers.get("set-cookie")) == (200, None)
    user.cookies.set(COOKIE, "../../etc")
    assert '<html lang="en">' in user.get("/").text


def test_errors_are_in_the_language_that_was_asked_for_and_of_programs_in_english(user: TestClient) -> None:
    page = user.get("/tasks/nothing", headers=CHINESE)
    assert (page.status_code, re.findall("<p>(.*?)</p>", page.text)[0]) == (404, "没有任务 &#39;nothing&#39;。")
    assert user.get("/api/tasks/nothing").json() == {"error": "there is no task 'nothing'"}
    assert user.get("/api/tasks/nothing", headers=CHINESE).json() == {"error": "没有任务 'nothing'"}
    # The guard's refusals are translated, too.
    refused = TestClient(user.app, base_url="http://127.0.0.1").get("/", headers=CHINESE)
    assert refused.status_code == 401
    assert "或在这里输入令牌" in refused.text
    assert "<html lang=zh-CN>" in refused.text


def test_problems_name_fields_as_the_form_calls_them(user: TestClient) -> None:
    page = user.post("/new", headers=CHINESE, data={"url": "http://127.0.0.1:9", "drop_late": "on", "action": "start"})
    wrong = re.findall('<span class="wrong" role="alert">(.*?)</span>', page.text)
    assert "--" not in "".join(wrong)
    assert any("“" in sentence and re.search("[一-鿿]", sentence) for sentence in wrong)


def test_a_task_of_a_template_has_its_title_in_the_language_of_the_page(user: TestClient) -> None:
    page = user.get("/new?template=rate", headers=CHINESE).text
    assert 'name="title" value="固定速率"' in page


def test_a_sentence_begins_large_unless_with_a_name_and_ends_once() -> None:
    assert sentence(tr("choose a file")) == "Choose a file."
    assert sentence(tr("%(name)s cannot be compared", name="nightly")) == "nightly cannot be compared."
    assert sentence("is the server running?") == "Is the server running?"
    assert sentence("http://host/v1 is not there") == "http://host/v1 is not there."


def test_what_is_no_request_passes_untouched() -> None:
    scopes: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        scopes.append(scope)

    scope = {"type": "lifespan"}
    asyncio.run(InLanguage(app)(scope, None, None))  # type: ignore[arg-type]
    assert scopes == [scope]


@pytest.mark.parametrize(
    ("language", "shown"), [("en", "2,000 users, 12,000 requests"), ("zh-CN", "2,000 个用户, 12,000 个请求")]
)
def test_a_load_keeps_its_thousands_in_each_language(language: str, shown: str) -> None:
    token = LANGUAGE.set(language)
    try:
        assert load("2,000 users, 12,000 requests").replace("\N{NO-BREAK SPACE}", " ") == shown
    finally:
        LANGUAGE.reset(token)
