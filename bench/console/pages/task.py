"""The page of a task, and the actions of its buttons."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from bench.console import live_charts, settings_text
from bench.console.errors import ConsoleError
from bench.console.health import warnings_of
from bench.console.kinds import KINDS
from bench.console.language import tr
from bench.console.pages.site import Answer, Fields, Site, TheSite, back
from bench.console.service import Console
from bench.console.set_load import number_of
from bench.console.settings_form import secrets_of
from bench.console.task import STATES, Task

routes = APIRouter()


@routes.get("/tasks/{name}")
def show(name: str, request: Request, site: TheSite) -> HTMLResponse:
    return _page(site, site.console.task(name), site.answer_of(request))


@routes.post("/tasks/{name}/{action}")
def act(name: str, action: str, fields: Fields, site: TheSite) -> Response:
    try:
        following = _done(site.console, name, action, fields)
        return back("/" if fields.get("then") == "list" and not following.startswith("/?") else following)
    except ConsoleError as e:
        site.console.task(name)
        return site.answer(_path(name), e.status, problem=str(e))


def _page(site: Site, task: Task, answer: Answer) -> HTMLResponse:
    console = site.console
    lines = console.live(task.id, run=task.run)
    charts = [] if task.over else live_charts.views(task)
    can_start = task.kind in KINDS
    # A plan needs requests per second.
    plans_replicas = (
        task.kind == "search" and task.has_report and not task.problem and task.settings.get("load", "rate") == "rate"
    )
    return site.page(
        "task",
        answer.status,
        task=task,
        line=lines[-1] if lines else None,
        warnings=warnings_of(lines[-1]["client"]) if lines else [],
        command=settings_text.command(task.settings, task.kind) if can_start else None,
        yaml=settings_text.as_yaml(task.settings),
        can_start=can_start,
        plans=[other for other in console.tasks() if other.made_from == task.id] if plans_replicas else [],
        plan_command=_plan_command(console, task) if plans_replicas else None,
        directory=shlex.quote(str(console.folder.directory(task.id))),
        load_unit=console.load_unit(task),
        order=list(console.runner.queue),
        series=not task.is_run,
        charts=charts,
        texts=[*STATES, *live_charts.texts(view["chart"] for view in charts)],
        period=live_charts.period(task),
        **answer.values,
    )


def _plan_command(console: Console, task: Task) -> str:
    """The command that plans the replicas for a day of traffic from the result of a search."""
    path = console.folder.directory(task.id)
    words = ["--search", str(path), "--rates", "day.csv", "--out", f"{path}-plan"]
    return shlex.join(["python", "-m", "bench", "plan", *words])


def _path(name: str) -> str:
    return f"/tasks/{quote(name)}"


def _typed_secrets(fields: Mapping[str, str]) -> dict[str, Any]:
    return secrets_of(fields.get("api_key"), fields.get("headers"))


def _done(console: Console, name: str, action: str, fields: Mapping[str, str]) -> str:
    """Perform a button's action. Returns the address of the next page."""
    match action:
        case "stop":
            console.queue.stop(name)
        case "load":
            console.set_load(name, number_of(fields.get("load")))
        case "start":
            console.queue.start(name, _typed_secrets(fields))
        case "go-on":
            console.queue.go_on(name, _typed_secrets(fields))
        case "clone":
            return _path(console.clone(name, {}).id)
        case "mark":
            console.mark(name, {key: fields[key] for key in ("title", "label", "note") if key in fields})
        case "baseline":
            console.mark(name, {"baseline": fields.get("baseline") == "on"})
        case "move":
            console.queue.move(name, -1 if fields.get("to") == "front" else 1)
            return "/"
        case "remove":
            for_good = fields.get("files") == "yes"
            console.remove(name, files=for_good)
            return "/" if for_good else f"/?removed={quote(name)}"
        case "restore":
            console.restore(name)
            return "/"
        case _:
            raise ConsoleError(tr("a task has no action %(action)s", action=repr(action)))
    return _path(name)
