"""The form of a new task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from bench.config.flags import GROUPS
from bench.console import settings_form
from bench.console.errors import ConsoleError, Refused
from bench.console.kinds import KINDS, parted
from bench.console.load_templates import TEMPLATES
from bench.console.pages.site import Fields, Site, TheSite, back
from bench.console.service import Console
from bench.console.settings_form import secrets_of
from bench.console.task import Task
from promptset import recipes

routes = APIRouter()


@dataclass(frozen=True, slots=True)
class Form:
    """The form as the page shows it: its values, and the problems beside them."""

    kind: str = "run"
    target: str = ""
    title: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[tuple[str | None, str], ...] = ()
    message: str | None = None
    secrets_typed: bool = False
    start_at: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConsoleError(f"there is no kind of task {self.kind!r}")


@routes.get("/new")
def new(request: Request, site: TheSite) -> HTMLResponse:
    if "answer" in request.query_params:
        answer = site.answer_of(request)
        return _page(site, answer.values.get("form", Form()), answer.status)
    query, targets = request.query_params, site.console.targets()
    first = targets[0].name if targets else ""
    if (key := query.get("template", "")) in TEMPLATES:
        template = TEMPLATES[key]
        return _page(site, Form(template.kind, first, template.title, template.settings))
    if name := query.get("from", ""):
        return _page(site, _copy_of(site.console.task(name), site.console))
    return _page(site, Form(query.get("kind", "run"), query.get("target", first)))


@routes.post("/new/template/{key}")
def from_template(key: str, fields: Fields, site: TheSite) -> Response:
    if key not in TEMPLATES:
        raise ConsoleError(f"there is no template {key!r}")
    template, target = TEMPLATES[key], fields.get("target")
    if template.kind == "calibrate":
        target = None
    elif not target:
        site.console.mock.start()
        target = "mock"
    task = site.console.create(template.settings, target=target, kind=template.kind, title=template.title)
    return back(f"/tasks/{quote(task.id)}")


@routes.post("/new")
def submit(fields: Fields, site: TheSite) -> Response:
    kind, target = fields.get("kind") or "run", fields.get("target", "")
    form = Form(kind, target, fields.get("title", ""), start_at=fields.get("start_at", ""))
    form = replace(form, values=settings_form.typed(fields, kind))
    action = {"paste": _paste, "probe": _probe}.get(fields.get("action", ""), _create)
    try:
        return action(site, form, fields)
    except Refused as e:
        return _answer(site, replace(form, problems=e.problems, secrets_typed=_has_secrets(fields)), e.status)
    except ConsoleError as e:
        wrong = replace(form, problems=((None, str(e)),), secrets_typed=_has_secrets(fields))
        return _answer(site, wrong, e.status)


def _answer(site: Site, form: Form, status: int = 200) -> Response:
    return site.answer("/new", status, form=form)


def _has_secrets(fields: Mapping[str, str]) -> bool:
    return any(fields.get(name) for name in ("api_key", "headers"))


def _paste(site: Site, form: Form, fields: Mapping[str, str]) -> Response:
    try:
        kind, settings = site.console.from_yaml(fields.get("yaml", ""), form.kind)
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
    if target:  # Its URL is that of the target, which another choice changes.
        values.pop("url", None)
    return Form(task.kind, target, task.marks.title or "", values, secrets_typed=console.asks_for_secrets(task.id))


def _page(site: Site, form: Form, status: int = 200) -> HTMLResponse:
    console, problems = site.console, dict[str, list[str]]()
    for name, sentence in form.problems:
        problems.setdefault(name or "", []).append(sentence)
    complete = bool(form.values) and not problems
    return site.page(
        "new",
        status,
        form=form,
        fields=settings_form.fields(form.kind),
        kinds=KINDS,
        groups=GROUPS,
        beside=problems,
        targets=console.targets(),
        templates=TEMPLATES,
        files=console.files.listed(),
        recipes=recipes.names(),
        command=console.command(form.values, form.kind) if complete else "",
        yaml=console.yaml(form.values) if complete else "",
        message=form.message,
    )
