"""The pages: rendered here, whole without JavaScript. Each form posts to one route, which does one operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import UploadFile

from bench.config.flags import GROUPS
from bench.console import report_pages, settings_form
from bench.console.api import selected
from bench.console.data_files import MOST_BYTES, MOST_FILES, fetch
from bench.console.errors import ConsoleError, Refused
from bench.console.health import warnings_of
from bench.console.kinds import KINDS, parted
from bench.console.load_templates import TEMPLATES
from bench.console.page_texts import change, number, setting, spark, when
from bench.console.service import Console
from bench.console.set_load import number_of, unit_of
from bench.console.task import STATES, Task, headlines
from bench.endpoints import ENDPOINTS
from promptset import recipes

SHOWN_AT_ONCE = 200
"""Rows of the list; the others come with a click."""


def _environment() -> Environment:
    pages = Environment(
        loader=PackageLoader("bench.console", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["number"] = number
    pages.filters["when"] = when
    pages.filters["spark"] = spark
    pages.filters["setting"] = setting
    for name in pages.list_templates():
        pages.get_template(name)  # Read now, so that the first page has not to wait for it.
    return pages


def router(console: Console, csrf: str) -> APIRouter:
    """The routes of one console. `csrf` goes into every form."""
    pages, environment = APIRouter(include_in_schema=False), _environment()

    def page(name: str, status: int = 200, **values: object) -> HTMLResponse:
        running = console.runner.current
        whole = {"csrf": csrf, "mock": console.mock, "running": running, "message": None, "problem": None, **values}
        return HTMLResponse(environment.get_template(f"{name}.html.j2").render(**whole), status)

    def back(path: str) -> Response:
        return RedirectResponse(path, status_code=303)

    # Tasks.

    def listed(request: Request, message: str | None = None, problem: str | None = None) -> HTMLResponse:
        query = request.query_params
        everything = console.tasks()
        chosen = selected(everything, query.get("state"), query.get("label"), query.get("search", ""))
        shown = chosen if "all" in query else chosen[:SHOWN_AT_ONCE]
        order = list(console.runner.queue)
        return page(
            "tasks",
            tasks=shown,
            total=len(everything),
            left=len(chosen) - len(shown),
            states=[state for state in STATES if any(task.state == state for task in everything)],
            labels=sorted({task.marks.label for task in everything if task.marks.label}),
            query=query,
            order=order,
            templates=TEMPLATES,
            targets=console.targets(),
            message=message,
            problem=problem,
        )

    @pages.get("/")
    def home(request: Request) -> HTMLResponse:
        return listed(request)

    def task_page(task: Task, problem: str | None = None, status: int = 200) -> HTMLResponse:
        lines = console.live(task.id, run=task.run)
        return page(
            "task",
            status,
            task=task,
            line=lines[-1] if lines else None,
            warnings=warnings_of(lines[-1]["client"]) if lines else [],
            command=console.command(task.settings, task.kind),
            yaml=console.yaml(task.settings),
            load_unit=unit_of(task),
            order=list(console.runner.queue),
            series=KINDS[task.kind].sign is not None,
            problem=problem,
        )

    @pages.post("/queue")
    async def reorder(request: Request) -> Response:
        form = dict(await request.form())
        for key, places in (("earlier", -1), ("later", 1)):
            if name := _text(form, key):
                await run_in_threadpool(console.move, name, places)
        return back("/")

    @pages.get("/tasks/{name}")
    def one(name: str) -> HTMLResponse:
        return task_page(console.task(name))

    @pages.post("/tasks/{name}/{action}")
    async def act(name: str, action: str, request: Request) -> Response:
        form = dict(await request.form())
        path = f"/tasks/{quote(name)}"
        try:
            if action == "stop":
                await run_in_threadpool(console.stop, name)
            elif action == "load":
                await run_in_threadpool(console.set_load, name, number_of(_text(form, "load")))
            elif action == "start":
                secrets = settings_form.secrets_of(_text(form, "api_key"), _text(form, "headers"))
                await run_in_threadpool(console.start, name, secrets)
            elif action == "go-on":
                secrets = settings_form.secrets_of(_text(form, "api_key"), _text(form, "headers"))
                await run_in_threadpool(console.go_on, name, secrets)
            elif action == "clone":
                return back(f"/tasks/{quote((await run_in_threadpool(console.clone, name, {})).id)}")
            elif action == "mark":
                texts = [key for key in ("title", "label", "note") if key in form]
                changes: dict[str, Any] = {key: _text(form, key) or "" for key in texts}
                await run_in_threadpool(console.mark, name, changes)
            elif action == "baseline":
                await run_in_threadpool(console.mark, name, {"baseline": _text(form, "baseline") == "on"})
            elif action == "move":
                await run_in_threadpool(console.move, name, -1 if _text(form, "to") == "front" else 1)
                path = "/"
            elif action == "remove":
                if _text(form, "sure") != "yes":
                    raise ConsoleError("tick the box that says so to delete the task")
                await run_in_threadpool(lambda: console.remove(name, files=_text(form, "files") == "yes"))
                path = "/"
            else:
                raise ConsoleError(f"a task has no action {action!r}")
        except ConsoleError as e:
            return task_page(console.task(name), str(e), e.status)
        return back(path)

    report_pages.add(pages, console, page)

    @pages.get("/compare")
    def compare(request: Request) -> HTMLResponse:
        query = request.query_params
        words = {"by": query.get("by", "task"), "margin": query.get("margin", ""), "allow": query.get("allow", "")}
        tasks = [console.task(name) for name in dict.fromkeys(query.getlist("task"))]
        tasks.sort(key=lambda task: (not task.marks.baseline, task.started or "", task.id))
        settings = {task.id: task.settings for task in tasks}
        keys = [key for one in settings.values() for key in one]
        differ = [key for key in dict.fromkeys(keys) if len({str(one.get(key)) for one in settings.values()}) > 1]
        found, problem = None, None
        try:
            if len(tasks) > 1:
                found = console.compared([task.id for task in tasks], **words)
        except ConsoleError as e:
            problem = str(e)
        return page(
            "compare",
            400 if problem else 200,
            tasks=tasks,
            headlines=headlines(tasks),
            differ=differ,
            found=found,
            words=words,
            labels=sorted({task.marks.label for task in tasks if task.marks.label}),
            inner=urlencode([*(("task", task.id) for task in tasks), *((k, v) for k, v in words.items() if v)]),
            change=change,
            problem=problem,
        )

    # A new task.

    def form_page(
        values: Mapping[str, Any],
        *,
        target: str = "",
        title: str = "",
        kind: str = "run",
        problems: tuple[tuple[str | None, str], ...] = (),
        status: int = 200,
        message: str | None = None,
        secrets_typed: bool = False,
    ) -> HTMLResponse:
        beside: dict[str, list[str]] = {}
        for name, sentence in problems:
            beside.setdefault(name or "", []).append(sentence)
        return page(
            "new",
            status,
            fields=settings_form.fields(kind),
            kinds=KINDS,
            groups=GROUPS,
            values=values,
            target=target,
            title=title,
            kind=kind,
            beside=beside,
            targets=console.targets(),
            templates=TEMPLATES,
            files=console.files.listed(),
            recipes=recipes.names(),
            command=console.command(values, kind) if values and not problems else "",
            yaml=console.yaml(values) if values and not problems else "",
            message=message,
            secrets_typed=secrets_typed,
        )

    @pages.get("/new")
    def new(request: Request) -> HTMLResponse:
        query = request.query_params
        targets = console.targets()
        chosen = targets[0].name if targets else ""
        if (key := query.get("template", "")) in TEMPLATES:
            template = TEMPLATES[key]
            return form_page(template.settings, target=chosen, title=template.title, kind=template.kind)
        if name := query.get("from", ""):
            task = console.task(name)
            values = {key: value for key, value in task.settings.items() if key not in settings_form.LEFT_OUT}
            same = next((target.name for target in targets if target.url == task.target), "")
            return form_page(values, target=same, title=task.marks.title or "", kind=task.kind)
        kind = query.get("kind", "run")
        if kind not in KINDS:
            raise ConsoleError(f"there is no kind of task {kind!r}")
        return form_page({}, target=query.get("target", chosen), kind=kind)

    @pages.post("/new/template/{key}")
    async def from_template(key: str, request: Request) -> Response:
        form = dict(await request.form())
        if key not in TEMPLATES:
            raise ConsoleError(f"there is no template {key!r}")
        template, target = TEMPLATES[key], _text(form, "target")
        if not target and template.kind != "calibrate":
            await run_in_threadpool(console.mock.start)
            target = "mock"
        used = None if template.kind == "calibrate" else target
        task = await run_in_threadpool(
            lambda: console.create(template.settings, target=used, kind=template.kind, title=template.title)
        )
        return back(f"/tasks/{quote(task.id)}")

    @pages.post("/new")
    async def create(request: Request) -> Response:
        form = dict(await request.form())
        target, kind = _text(form, "target") or "", _text(form, "kind") or "run"
        title, action = _text(form, "title") or "", _text(form, "action")
        if kind not in KINDS:
            raise ConsoleError(f"there is no kind of task {kind!r}")
        given = settings_form.typed(form, kind)
        if action == "paste":
            try:
                kind, pasted = console.from_yaml(_text(form, "yaml") or "", kind)
                return form_page(pasted, target=target, title=title, kind=kind)
            except ConsoleError as e:
                return form_page(given, target=target, title=title, kind=kind, problems=(("yaml", str(e)),), status=422)
        try:
            secrets = settings_form.secrets_of(_text(form, "api_key"), _text(form, "headers"))
            if action == "probe":
                saved = console.target(target) if target else None
                said = await console.probe(parted(given, kind)[0], secrets, saved)
                return form_page(
                    given, target=target, title=title, kind=kind, message=said, secrets_typed=bool(secrets)
                )
            task = await run_in_threadpool(
                lambda: console.create(
                    given,
                    secrets=secrets,
                    target=target or None,
                    kind=kind,
                    title=title,
                    start=action != "keep",
                    start_at=_text(form, "start_at") or None,
                )
            )
        except Refused as e:
            return form_page(given, target=target, title=title, kind=kind, problems=e.problems, status=e.status)
        except ConsoleError as e:
            told = ((None, str(e)),)
            return form_page(given, target=target, title=title, kind=kind, problems=told, status=e.status)
        return back(f"/tasks/{quote(task.id)}")

    # Targets and data.

    def targets_page(
        message: str | None = None, problem: str | None = None, status: int = 200, **typed: str
    ) -> HTMLResponse:
        saved = console.store.targets()
        known = {"targets": saved, "endpoints": ", ".join(ENDPOINTS)}
        return page("targets", status, **known, message=message, problem=problem, typed=typed)

    @pages.get("/targets")
    def targets() -> HTMLResponse:
        return targets_page()

    @pages.post("/targets")
    async def save_target(request: Request) -> Response:
        form = dict(await request.form())
        known = ("name", "url", "endpoint", "model", "tokenizer", "key_variable")
        typed = {key: _text(form, key) or "" for key in (*known, "header_variables")}
        try:
            lines = [line.partition(":") for line in typed["header_variables"].splitlines() if line.strip()]
            if any(not header.strip() or not held.strip() for header, _, held in lines):
                raise ConsoleError("write each header as NAME: VARIABLE, one on a line")
            headers = {header.strip(): held.strip() for header, _, held in lines}
            console.save_target({**typed, "header_variables": headers})
        except ConsoleError as e:
            return targets_page(problem=str(e), status=e.status, **typed)
        return back("/targets")

    @pages.post("/targets/{name}/{action}")
    async def target_action(name: str, action: str, request: Request) -> Response:
        try:
            if action == "probe":
                said = await console.probe({}, {}, console.target(name))
                return targets_page(message=f"{name}: {said}")
            if action == "remove":
                console.store.remove_target(console.target(name).name)
        except ConsoleError as e:
            return targets_page(problem=f"{name}: {e}", status=e.status)
        return back("/targets")

    @pages.post("/mock/{action}")
    async def mock_action(action: str, request: Request) -> Response:
        flags = _text(dict(await request.form()), "flags")
        try:
            if action == "start":
                await run_in_threadpool(console.mock.start, flags or console.mock.flags)
            else:
                await run_in_threadpool(console.mock.stop)
        except ConsoleError as e:
            return targets_page(problem=f"the mock: {e}", status=e.status, flags=flags or "")
        return back("/targets")

    def data_page(problem: str | None = None, status: int = 200) -> HTMLResponse:
        files = [(file, console.files.preview(file.name)) for file in console.files.listed()]
        return page("data", status, files=files, problem=problem, most_mib=MOST_BYTES // 2**20, most_files=MOST_FILES)

    @pages.get("/data")
    def data() -> HTMLResponse:
        return data_page()

    @pages.post("/data")
    async def upload(request: Request) -> Response:
        try:
            async with request.form(max_files=1, max_fields=10) as form:
                file, whole = form.get("file"), form.get("split") == "whole"
                if isinstance(file, UploadFile) and file.filename:
                    name, content = file.filename, await file.read()
                elif url := str(form.get("url") or "").strip():
                    name, content = await fetch(url)
                else:
                    raise ConsoleError("choose a file, or give a URL")
            await run_in_threadpool(console.files.add, name, content, whole=whole)
        except ConsoleError as e:
            return data_page(str(e), e.status)
        return back("/data")

    @pages.post("/data/{name}/remove")
    def remove_file(name: str) -> Response:
        console.files.remove(name)
        return back("/data")

    @pages.get("/api")
    def api_page(request: Request) -> HTMLResponse:
        routes = [
            (method.upper(), path, operation.get("summary", ""))
            for path, methods in request.app.openapi()["paths"].items()
            for method, operation in methods.items()
        ]
        return page("api", routes=routes)

    return pages


def _text(form: Mapping[str, Any], name: str) -> str | None:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else None
