"""What every page needs: templates, formatting of values, and the fields of a posted form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from bench.console.form_words import plain
from bench.console.language import LANGUAGE, Phrase, other_language, sentence, shown, tr, words_of_scripts
from bench.console.people import READ_ONLY
from bench.console.service import Console
from bench.rng import secret_token

MOST_ANSWERS = 50
"""Answers to forms that are kept. For an older one, the page is shown without it."""


def number(value: float | None) -> str:
    """Format a value with three or four significant digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def setting(value: object) -> str:
    """Format the value of a setting."""
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value)
    return str(value)


_LOADS = tuple(
    (re.compile(rf"(?<![\w/:]){re.escape(message).replace(re.escape('%(n)s'), '([0-9][0-9.,]*%?)')}(?![\w/=])"), message)
    for message in (
        tr("%(n)s users"), tr("%(n)s user"), tr("%(n)s requests/s"), tr("%(n)s requests"), tr("in %(n)s classes"),
        tr("%(n)s probes"), tr("%(n)s times"), tr("calibration sweep"), tr("search"), tr("sweep"), tr("quality"),
        tr("tune"), tr("plan"),
        tr("throughput"), tr("trace"), tr("users"), tr("sessions"), tr("requests/s"),
    )
)  # fmt: skip
"""The parts of a load's short text (`tasks.load_of`, `series.load_of`)."""


def load(text: str) -> str:
    """Translate a load's short text, with no-break spaces between numbers and units."""
    for pattern, message in _LOADS:
        text = pattern.sub(partial(_in_words, message), text)
    return re.sub(r"(?<=\d) (?=\w)", "\N{NO-BREAK SPACE}", text)


def _in_words(message: str, match: re.Match[str]) -> str:
    return shown(Phrase(message, {"n": match[1]} if match.re.groups else {}))


def spark(values: tuple[float, ...]) -> str:
    """The points of a sparkline of 80 by 20."""
    if len(values) < 2:
        return ""
    return " ".join(f"{i * 80 / (len(values) - 1):.1f},{19 - value * 18:.1f}" for i, value in enumerate(values))


def lines(value: object) -> str:
    """A setting of one or several texts, one per line; a weighted address as URL=WEIGHT."""
    items = value if isinstance(value, list | tuple) else [value or ""]
    return "\n".join(
        f"{item.get('url')}={item.get('weight', 1)}" if isinstance(item, Mapping) else str(item) for item in items
    )


def after(text: str, mark: str) -> str:
    """The text after the first mark."""
    return text.partition(mark)[2]


def when(text: str | None, between: str = " ") -> str:
    """Format an ISO 8601 time in UTC to the minute; `between` separates date and time of day."""
    return (text or "")[:16].replace("T", between)


@cache
def templates() -> Environment:
    """All templates, compiled in advance so that the first page is not slow. Shared by all consoles of a process."""
    environment = Environment(
        # The page of a task also has the report's charts.
        loader=ChoiceLoader([PackageLoader("bench.console", "templates"), PackageLoader("bench.report", "template")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, when, spark, setting, after, lines, load, sentence, plain)
    environment.filters |= {filter_.__name__: filter_ for filter_ in filters} | {"word": Phrase}
    environment.globals |= {
        "tr": tr, "language": LANGUAGE, "other_language": other_language, "words_of_scripts": words_of_scripts
    }  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": True}
    environment.globals["has_parquet"] = find_spec("pyarrow") is not None
    for name in environment.list_templates(["j2"]):
        environment.get_template(name)
    return environment


@dataclass(frozen=True, slots=True)
class Answer:
    """A page's answer to a posted form: the values of its template, and the status."""

    status: int = 200
    values: Mapping[str, Any] = field(default_factory=dict)


class Site:
    """The pages of one console. Every form contains `csrf`."""

    def __init__(self, console: Console, csrf: str) -> None:
        self.console = console
        self._csrf = csrf
        self._templates = templates()
        self._answers: dict[str, Answer] = {}

    def answer(self, path: str, status: int = 200, **values: object) -> Response:
        """Show the answer to a form as a page with its own address, so that the browser can come back to it."""
        key = secret_token()[:16]
        self._answers = dict([*self._answers.items(), (key, Answer(status, values))][-MOST_ANSWERS:])
        return back(f"{path}?answer={key}")

    def answer_of(self, request: Request) -> Answer:
        """The answer that an address names; empty if it names none or the answer is no longer kept."""
        return self._answers.get(request.query_params.get("answer", ""), Answer())

    def page(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        """Render a template with these values and those common to all pages."""
        common = {
            "csrf": self._csrf,
            "mock": self.console.mock,
            "running": self.console.runner.current,
            "read_only": READ_ONLY.get(),
            "message": None,
            "problem": None,
        }
        return HTMLResponse(self._templates.get_template(f"{name}.html.j2").render(**(common | values)), status)


def back(path: str) -> Response:
    """Redirect after a form, so that the browser loads this page."""
    return RedirectResponse(path, status_code=303)


async def _site(request: Request) -> Site:
    return cast(Site, request.app.state.site)


async def _fields(request: Request) -> dict[str, str]:
    return {name: value.strip() for name, value in (await request.form()).items() if isinstance(value, str)}


TheSite = Annotated[Site, Depends(_site)]
Fields = Annotated[Mapping[str, str], Depends(_fields)]
"""The texts of a posted form, stripped of surrounding spaces. An empty field is an empty text."""
