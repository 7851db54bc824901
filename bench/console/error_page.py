"""The error page. It uses no template, because it must also work before routing."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import HTMLResponse

from bench.console.language import LANGUAGE, Phrase, sentence, shown

_PAGE = Markup(
    "<!doctype html><html lang={language}><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>Trueload</title><link rel=stylesheet href=/static/console.css>"
    "<header class=bar><a class=brand href=/>Trueload</a></header>"
    "<main class=narrow><h1>{title}</h1><p>{sentence}</p>{more}</main></html>"
)


def error_page(status: int, title: Phrase, why: str, more: Markup) -> HTMLResponse:
    """A page in the reader's language. `more` is a form or a link below the sentence."""
    page = _PAGE.format(language=LANGUAGE.get(), title=shown(title), sentence=sentence(why), more=more)
    return HTMLResponse(page, status_code=status)
