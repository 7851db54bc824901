"""The form of a new task."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from bench.config.flags import GROUPS
from bench.config.tokenless import HTTP
from bench.console import settings_form, settings_text
from bench.console.data_rows import Rows, body_of_base64
from bench.console.errors import ConsoleError, Refused
from bench.console.form_words import (
    DATA,
    MODES,
    NUMBERS,
    NUMBERS_WITHOUT_MODE,
    OF_QUALITY,
    data_of,
    group_title,
    label_of,
    mode_of,
    of_mode,
    of_service,
    plain,
)
from bench.console.kinds import KINDS, parted
from bench.console.language import shown, tr
from bench.console.load_templates import TEMPLATES
from bench.console.pages.site import Fields, Site, TheSite, back
from bench.console.refusals import phrase_of
from bench.console.service import Console
from bench.console.settings_form import secrets_of
from bench.console.task import Task
from promptset import recipes

routes = APIRouter()


@dataclass(frozen=True, slots=True)
class Form:
    """The state of the form: its values, and the problems shown beside them."""

    kind: str = "run"
    target: str = ""
    title: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[tuple[str | None, str], ...] = ()
    message: str | None = None
    secrets_typed: bool = False
    start_at: str = ""
    data: str = ""
    """The chosen source of requests: a value of `form_words.DATA`."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """A URL of data, and a body."""

    @property
    def is_llm(self) -> bool:
        """Whether the server is an LLM service rather than any HTTP service."""
        return bool(self.values.get("endpoint") != HTTP)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConsoleError(tr("there is no kind of task %(kind)s", kind=repr(self.kind)))


@routes.get("/new")
def new(request: Request, site: TheSite) -> HTMLResponse:
    if "answer" in request.query_params:
        answer = site.answer_of(request)
        return _page(site, answer.values.get("form", Form()), answer.status)
    query, targets = request.query_params, site.console.targets()
    first = targets[0].name if targets else ""
    if (key := query.get("template", "")) in TEMPLATES:
        template = TEMPLATES[key]
        return _page(site, Form(template.kind, first, shown(template.title), template.settings))
    if name := query.get("from", ""):
        return _page(site, _copy_of(site.console.task(name), site.console))
    return _page(site, Form(query.get("kind", "run"), query.get("target", first)))


@routes.post("/new/template/{key}")
def from_template(key: str, fields: Fields, site: TheSite) -> Response:
    if key not in TEMPLATES:
        raise ConsoleError(tr("there is no template %(name)s", name=repr(key)))
    template, target = TEMPLATES[key], fields.get("target")
    if template.kind == "calibrate":
        target = None
    elif not target:
        site.console.mock.start()
        target = "mock"
    task = site.console.create(template.settings, target=target, kind=template.kind, title=shown(template.title))
    return back(f"/tasks/{quote(task.id)}")


@routes.post("/new")
def submit(fields: Fields, site: TheSite) -> Response:
    kind, target = fields.get("kind") or "run", fields.get("target", "")
    form = Form(kind, target, fields.get("title", ""), start_at=fields.get("start_at", ""))
    typed = {name: fields.get(name, "") for name in ("data_url", "one_body")}
    values = of_mode(settings_form.typed(fields, kind))
    if "asked_llm" in fields:
        values = of_service(values, is_llm="llm" in fields)
    form = replace(form, values=values, data=fields.get("data", ""), typed=typed)
    action = {"paste": _paste, "probe": _probe}.get(fields.get("action", ""), _create)
    at_first: Sequence[tuple[str | None, str]] = ()
    try:
        form = replace(form, values=_with_data(site.console, form, fields))
        secrets_of(fields.get("api_key"), fields.get("headers"))
    except Refused as e:
        at_first, action = e.problems, _refuse
    try:
        return action(site, form, fields)
    except Refused as e:
        problems = (*at_first, *e.problems)
        return _answer(site, replace(form, problems=problems, secrets_typed=_has_secrets(fields)), e.status)
    except ConsoleError as e:
        wrong = replace(form, problems=((None, str(e)),), secrets_typed=_has_secrets(fields))
        return _answer(site, wrong, e.status)


def _with_data(console: Console, form: Form, fields: Mapping[str, str]) -> Mapping[str, Any]:
    """The settings with the chosen data. A URL's file and a typed body are stored as data files. Raises Refused."""
    without = {name: value for name, value in form.values.items() if name not in ("dataset", "input_tokens")}
    if not form.is_llm and form.data not in ("file", "url"):
        body = fields.get("one_body", "")
        return {**without, "body": body} if body else without
    match form.data:
        case "simulated":
            return {name: value for name, value in form.values.items() if name != "dataset"}
        case "recipe" | "file" if name := fields.get(form.data):
            return {**without, "dataset": name}
        case "file":
            raise Refused([("dataset", tr("choose a file: none was uploaded yet, or none is chosen"))])
        case "url" | "body":
            field = {"url": "data_url", "body": "one_body"}[form.data]
            try:
                names = _saved_data(console, form.data, fields.get(field, ""))
            except ConsoleError as e:
                raise Refused([(field, str(e))]) from e
            return {**without, "dataset": names[0]}
    return form.values


def _refuse(site: Site, form: Form, fields: Mapping[str, str]) -> Response:
    """Raises Refused with any other problems, if the data or a header is invalid."""
    settings = {
        "url": "http://127.0.0.1:1",
        **{name: value for name, value in form.values.items() if name != "dataset"},
    }
    settings_form.check(settings, {}, site.console.files, form.kind)
    raise Refused(())


def _saved_data(console: Console, kind: str, text: str) -> list[str]:
    if not text:
        raise ConsoleError(tr("type it, or choose other data"))
    if kind == "url":
        return asyncio.run(console.fetch(text))
    body = text.encode()
    rows = Rows(whole=True, base64=body_of_base64(body) is not None)
    return console.files.add(f"body-{sha256(body).hexdigest()[:8]}.json", body, rows)


def _answer(site: Site, form: Form, status: int = 200) -> Response:
    return site.answer("/new", status, form=form)


def _has_secrets(fields: Mapping[str, str]) -> bool:
    return any(fields.get(name) for name in ("api_key", "headers"))


def _paste(site: Site, form: Form, fields: Mapping[str, str]) -> Response:
    try:
        kind, settings = settings_text.from_yaml(fields.get("yaml", ""), form.kind)
    except ConsoleError as e:
        raise Refused([("yaml", str(e))]) from e
    return _answer(site, replace(form, kind=kind, values=settings))


def _probe(site: Site, form: Form, fields: Mapping[str, str]) -> Response:
    secrets = secrets_of(fields.get("api_key"), fields.get("headers"))
    target = site.console.target(form.target) if form.target else None
    message = site.console.probe(parted(form.values, form.kind)[0], secrets, target)
    return _answer(site, replace(form, message=message, secrets_typed=bool(secrets)))


def _create(site: Site, form: Form, fields: Mapping[str, str]) -> Response:
    task = site.console.create(
        form.values,
        secrets=secrets_of(fields.get("api_key"), fields.get("headers")),
        target=form.target or None,
        kind=form.kind,
        title=form.title,
        start=fields.get("action") != "keep",
        start_at=fields.get("start_at") or None,
    )
    return back(f"/tasks/{quote(task.id)}")


def _copy_of(task: Task, console: Console) -> Form:
    values = {key: value for key, value in task.settings.items() if key not in settings_form.LEFT_OUT}
    target = next((target.name for target in console.targets() if target.url == task.target), "")
    if target:  # The target sets the URL, so choosing another target must change it.
        values.pop("url", None)
    return Form(task.kind, target, task.marks.title or "", values, secrets_typed=console.asks_for_secrets(task.id))


def _page(site: Site, form: Form, status: int = 200) -> HTMLResponse:
    console, problems = site.console, dict[str, list[str]]()
    for name, sentence in form.problems:
        message = phrase_of(plain(sentence, name, lambda name: str(shown(label_of(name)))))
        problems.setdefault(name or "", []).append(message)
    complete = bool(form.values) and not problems
    fields = settings_form.fields(form.kind)
    has_mode = any(field.name == "mode" for field in fields)
    return site.page(
        "new",
        status,
        form=form,
        fields=fields,
        has_service=form.kind in ("run", "search", "sweep"),
        of_quality=OF_QUALITY,
        kinds=KINDS,
        modes=MODES,
        mode=mode_of(form.values),
        choices_of_data=DATA,
        data=form.data or data_of(form.values),
        numbers=NUMBERS if has_mode else NUMBERS_WITHOUT_MODE,
        has_mode=has_mode,
        groups={name: group_title(title) for name, title in GROUPS.items()},
        beside=problems,
        targets=console.targets(),
        templates=TEMPLATES,
        files=console.files.listed(),
        recipes=recipes.names(),
        command=settings_text.command(form.values, form.kind) if complete else "",
        yaml=settings_text.as_yaml(form.values) if complete else "",
        message=form.message,
    )
