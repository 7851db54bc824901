"""The languages of the pages: English, and gettext catalogs for others (built by `scripts/translations`).

Every text on a page is a `Phrase`: a str in English, as used by the API, the log and the command line, with the message
and the values it was formatted from. It is translated when a page is rendered, so code that makes a sentence need not
know the reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import overload
from urllib.parse import parse_qsl, urlencode

from markupsafe import Markup, escape
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "zh-CN": "中文"}
"""The native name of each language, by tag."""
LOCALES = Path(__file__).with_name("locale")
SCRIPTS = (Path(__file__).with_name("static"), Path(__file__).parents[1] / "report" / "template")
"""Folders of the scripts that a page may load."""
DOMAIN = "console"
COOKIE = PARAMETER = "trueload_language"
"""The cookie that stores the choice of language, and the query parameter that makes it."""
_A_YEAR_S = 365 * 24 * 3600

LANGUAGE: ContextVar[str] = ContextVar("language", default=ENGLISH)
"""The language of the current request."""
QUERY: ContextVar[str] = ContextVar("query", default="")
"""The query string of the current request."""


class Phrase(str):
    """An English text that can be shown in another language."""

    message: str
    values: Mapping[str, object]

    def __new__(cls, message: str, values: Mapping[str, object] | None = None) -> Phrase:
        """Format a message with the values of its %(name)s fields."""
        phrase = super().__new__(cls, message % values if values else message)
        phrase.message, phrase.values = message, values or {}
        return phrase

    def __str__(self) -> str:
        """Returns itself, so that the text of an error stays translatable."""
        return self


def tr(message: str, **values: object) -> Phrase:
    """A text of the pages. `scripts/translations` extracts its messages from calls of this function."""
    return Phrase(message, values)


@overload
def shown(value: str) -> str: ...
@overload
def shown(value: object) -> object: ...
def shown(value: object) -> object:
    """Translate a value for the reader. Anything but a `Phrase` is returned unchanged."""
    if not isinstance(value, Phrase) or not value:
        return value
    text = catalog(LANGUAGE.get()).gettext(value.message)
    values = {name: shown(inner) for name, inner in value.values.items()}
    if any(isinstance(inner, Markup) for inner in values.values()):
        return escape(text) % values
    return text % values if values else text


def sentence(text: str) -> str:
    """A sentence in the reader's language, with a capital letter and a period. A leading name or URL keeps its case."""
    translation = shown(text)
    begins_with_name = (isinstance(text, Phrase) and text.message.startswith("%(")) or "://" in translation.partition(
        " "
    )[0]
    whole = translation if begins_with_name else translation[:1].upper() + translation[1:]
    if whole.endswith((".", "?", "!", "。", "？")):
        return whole
    return shown(tr("%(sentence)s.", sentence=whole)) if isinstance(text, Phrase) else f"{whole}."


@lru_cache(maxsize=len(LANGUAGES))
def catalog(language: str) -> NullTranslations:
    """The messages of a language. The English catalog is empty: each message is its own translation."""
    if language == ENGLISH:
        return NullTranslations()
    path = LOCALES / language.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with path.open("rb") as file:
        return GNUTranslations(file)


def choice_of(accepted: str) -> str:
    """The best available language for an Accept-Language header, by weight; English if none matches."""
    best, language = 0.0, ENGLISH
    for part in accepted.split(","):
        tag, _, weight = part.partition(";")
        family = tag.strip().lower().partition("-")[0]
        known = next((name for name in LANGUAGES if name.partition("-")[0] == family), None)
        try:
            share = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if known is not None and share > best:
            best, language = share, known
    return language


def other_language() -> dict[str, str]:
    """The language switch of a page: tag and name of the next language, and the address of this page in it."""
    tags = list(LANGUAGES)
    tag = tags[(tags.index(LANGUAGE.get()) + 1) % len(tags)]
    query = urlencode([*parse_qsl(QUERY.get(), keep_blank_values=True), (PARAMETER, tag)])
    return {"tag": tag, "name": LANGUAGES[tag], "address": f"?{query}"}


class InLanguage:
    """ASGI middleware that sets the language of a request from its cookie, else from Accept-Language."""

    def __init__(self, app: ASGIApp, secure: bool = False) -> None:
        self._app, self._secure = app, secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store a chosen language in the cookie and redirect to the address without it, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        chosen = dict(query).get(PARAMETER)
        if chosen in LANGUAGES and scope["method"] == "GET":
            rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
            reply = RedirectResponse("/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), status_code=303)
            reply.set_cookie(COOKIE, chosen, _A_YEAR_S, path="/", httponly=True, samesite="lax", secure=self._secure)
            await reply(scope, receive, send)
            return
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        LANGUAGE.set(cookie if cookie in LANGUAGES else choice_of(headers.get("accept-language", "")))
        QUERY.set(urlencode(query))
        await self._app(scope, receive, send)


_CALL = re.compile(r'\btr\("((?:[^"\\]|\\.)*)"')


@lru_cache(maxsize=1)
def messages_of_scripts() -> tuple[str, ...]:
    """The messages in the scripts of the pages."""
    scripts = [path for folder in SCRIPTS for path in sorted(folder.glob("*.js"))]
    texts = (match for path in scripts for match in _CALL.finditer(path.read_text(encoding="utf-8")))
    return tuple(dict.fromkeys(json.loads(f'"{match[1]}"') for match in texts))


def words_of_scripts(*more: str) -> dict[str, str]:
    """The translations for a page's scripts: their own messages and `more`. Empty for English."""
    known = catalog(LANGUAGE.get())
    return {message: text for message in (*messages_of_scripts(), *more) if (text := known.gettext(message)) != message}
