"""Which language a reader gets, how the choice is kept, and how values come into a translated text."""

from __future__ import annotations

import asyncio

import pytest
from markupsafe import Markup
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from bench.console.language import (
    COOKIE,
    LANGUAGE,
    PARAMETER,
    QUERY,
    InLanguage,
    choice_of,
    other_language,
    sentence,
    shown,
    tr,
    words_of_scripts,
)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "en"),
        ("zh", "zh-CN"),
        ("ZH-tw", "zh-CN"),
        ("zh;q=0.5", "zh-CN"),
        ("zh;q=0", "en"),
        ("en;q=0.4,zh;q=0.5", "zh-CN"),
        ("zh;q=0.4, en;q=0.5", "en"),
        ("zh;q=0.5,en;q=0.5", "zh-CN"),
        ("en;q=0.5,zh;q=0.5", "en"),
        ("en;q=0.9,zh", "zh-CN"),
        ("en;q=many,zh;q=0.1", "zh-CN"),
        ("en,zh;q=1", "en"),
        ("de,zh;q=0.1", "zh-CN"),
    ],
)
def test_the_language_with_the_greatest_weight_is_chosen_and_of_equal_ones_the_first(
    accepted: str, language: str
) -> None:
    assert choice_of(accepted) == language


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"{LANGUAGE.get()} {QUERY.get()}")(scope, receive, send)


@pytest.mark.parametrize("secure", [False, True])
def test_the_choice_is_a_cookie_for_a_year_that_scripts_cannot_read(secure: bool) -> None:
    user = TestClient(InLanguage(answer, secure=secure), base_url="https://127.0.0.1", follow_redirects=False)
    reply = user.get(f"/new?label=&{PARAMETER}=zh-CN&kind=run")
    assert (reply.status_code, reply.headers["location"]) == (303, "/new?label=&kind=run")
    cookie = f"{COOKIE}=zh-CN; HttpOnly; Max-Age=31536000; Path=/; SameSite=lax"
    assert reply.headers["set-cookie"] == cookie + ("; Secure" if secure else "")
    assert user.get("/new?label=&x=1").text == "zh-CN label=&x=1"


def test_over_plain_http_the_cookie_is_sent_as_well() -> None:
    reply = TestClient(InLanguage(answer), follow_redirects=False).get(f"/?{PARAMETER}=en")
    assert (reply.headers["location"], "Secure" in reply.headers["set-cookie"]) == ("/", False)


def test_a_form_that_is_sent_is_not_redirected() -> None:
    reply = TestClient(InLanguage(answer)).post(f"/new?{PARAMETER}=zh-CN")
    assert (reply.status_code, reply.text, reply.headers.get("set-cookie")) == (200, f"en {PARAMETER}=zh-CN", None)


@pytest.mark.parametrize(("language", "next_one"), [("en", ("zh-CN", "中文")), ("zh-CN", ("en", "English"))])
def test_the_switch_leads_to_the_other_language_of_the_same_page(language: str, next_one: tuple[str, str]) -> None:
    async def main() -> dict[str, str]:
        LANGUAGE.set(language)
        QUERY.set("label=&kind=run")
        return other_language()

    tag, name = next_one
    assert asyncio.run(main()) == {"tag": tag, "name": name, "address": f"?label=&kind=run&{PARAMETER}={tag}"}


def test_values_are_escaped_beside_markup_and_stay_as_they_are_without() -> None:
    link = Markup("<a href=/>x</a>")
    assert shown(tr("%(a)s <and> %(b)s", a=link, b="<b>")) == "<a href=/>x</a> &lt;and&gt; &lt;b&gt;"
    assert shown(tr("%(a)s <and> %(b)s", a="<a>", b="<b>")) == "<a> <and> <b>"
    assert shown(tr("100% of it")) == "100% of it"
    assert (shown(tr("")), shown(7), shown("plain")) == ("", 7, "plain")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("see http://host for it", "See http://host for it."),
        ("http://host is not there", "http://host is not there."),
        ("%(x)s of a plain text", "%(x)s of a plain text."),
        ("is it so?", "Is it so?"),
        ("stop!", "Stop!"),
        ("done.", "Done."),
        ("", "."),
        ("没有。", "没有。"),
        ("为什么？", "为什么？"),
        (tr("no %(thing)s", thing="x"), "No x."),
        (tr("%(name)s is running", name="night"), "night is running."),
    ],
)
def test_a_sentence_has_a_large_first_letter_and_one_mark_at_its_end(text: str, whole: str) -> None:
    assert sentence(text) == whole


def test_a_page_in_english_carries_no_translations_for_its_scripts_and_another_only_those_that_differ() -> None:
    assert words_of_scripts("requests/s") == {}

    async def main() -> dict[str, str]:
        LANGUAGE.set("zh-CN")
        return words_of_scripts("All tasks", "a text that no catalog has")

    words = asyncio.run(main())
    assert words["All tasks"] == "全部任务"
    assert "a text that no catalog has" not in words
    assert all(message != text for message, text in words.items())
