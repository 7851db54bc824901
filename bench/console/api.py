"""The API: everything that the pages do, as JSON. /openapi.json describes it, docs/console.md shows it with curl."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.console import settings_form
from bench.console.comparing import DEFAULT_MARGIN
from bench.console.data_files import fetch
from bench.console.errors import Conflict, NotFound
from bench.console.health import warnings_of
from bench.console.kinds import KINDS
from bench.console.mock import DEFAULT_FLAGS
from bench.console.report_text import report_text
from bench.console.security import REPORT_POLICY
from bench.console.service import Console
from bench.console.task import Task
from bench.run_files.run_directory import CERTIFICATE_PAGE, REPORT, REQUESTS

EVENT_EVERY_NS = NS_PER_S // 2


class Body(BaseModel):
    """What a request may say; anything else is refused."""

    model_config = ConfigDict(extra="forbid")


class NewTask(Body):
    """A task to make."""

    settings: dict[str, Any] = Field({}, description="by the names of the flags of the command")
    target: str | None = Field(None, description="a saved target, or `mock`; else settings.url")
    kind: str = Field("run", description="run, search, sweep or calibrate")
    title: str | None = None
    api_key: str | None = Field(None, description="kept in memory only")
    headers: str | None = Field(None, description="NAME: VALUE, one on a line; kept in memory only")
    start: bool = Field(True, description="put it into the queue")
    start_at: str | None = Field(None, description="not before this time (ISO 8601, UTC)")


class Start(Body):
    """Secrets that were typed in before and are gone, and when to start."""

    api_key: str | None = None
    headers: str | None = None
    start_at: str | None = None


class SetLoad(Body):
    """Users, or requests per second: for tasks in the modes concurrency and rate."""

    load: float


class Clone(Body):
    """The settings that differ; null takes one out."""

    settings: dict[str, Any] = {}
    start: bool = True


class MarkTask(Body):
    """What to change."""

    title: str | None = None
    label: str | None = None
    note: str | None = None
    baseline: bool | None = None


class NewTarget(Body):
    """A server to save. Keys are never stored: name the environment variable that holds one."""

    name: str
    url: str
    endpoint: str | None = None
    model: str | None = None
    tokenizer: str | None = None
    key_variable: str | None = None
    header_variables: dict[str, str] | None = None


class MockFlags(Body):
    """Flags of `python -m mockserver`."""

    flags: str = DEFAULT_FLAGS


class FetchFile(Body):
    """A URL that gives a data file."""

    url: str
    whole: bool = False


def shown(task: Task) -> dict[str, Any]:
    """A task as JSON: title and marks beside the rest."""
    found = asdict(task)
    marks = found.pop("marks")
    return {**found, **marks, "title": task.title, "active": task.active}


def router(console: Console) -> APIRouter:
    """The routes of one console."""
    api = APIRouter(prefix="/api")

    @api.get("/tasks", summary="All tasks, the latest first")
    def tasks(state: str | None = None, label: str | None = None, search: str = "") -> list[dict[str, Any]]:
        return [shown(task) for task in selected(console.tasks(), state, label, search)]

    @api.post("/tasks", status_code=201, summary="A new task, started as soon as nothing else runs")
    def create(new: NewTask) -> dict[str, Any]:
        secrets = settings_form.secrets_of(new.api_key, new.headers)
        task = console.create(
            new.settings,
            secrets=secrets,
            target=new.target,
            kind=new.kind,
            title=new.title,
            start=new.start,
            start_at=new.start_at,
        )
        return shown(task)

    @api.get("/tasks/{task}", summary="One task")
    def one(task: str) -> dict[str, Any]:
        return shown(console.task(task))

    @api.patch("/tasks/{task}", summary="Change title, label, note or baseline")
    def mark(task: str, changes: MarkTask) -> dict[str, Any]:
        return shown(console.mark(task, changes.model_dump(exclude_unset=True)))

    @api.delete("/tasks/{task}", status_code=204, summary="Take a task out of the list; with files=true for good")
    def remove(task: str, files: bool = False) -> Response:
        console.remove(task, files=files)
        return Response(status_code=204)

    @api.post("/tasks/{task}/start", summary="Put a task into the queue")
    def start(task: str, given: Start | None = None) -> dict[str, Any]:
        given = given or Start()
        return shown(console.start(task, settings_form.secrets_of(given.api_key, given.headers), given.start_at))

    @api.post("/tasks/{task}/go-on", summary="Go on with a search or a sweep that was stopped or killed")
    def go_on(task: str, given: Start | None = None) -> dict[str, Any]:
        given = given or Start()
        return shown(console.go_on(task, settings_form.secrets_of(given.api_key, given.headers)))

    @api.post("/tasks/{task}/stop", summary="Stop sending and let requests finish; the second time, cut them")
    def stop(task: str) -> dict[str, Any]:
        return shown(console.stop(task))

    @api.post("/tasks/{task}/load", summary="Set the users, or the requests per second, of a task that runs")
    def set_load(task: str, given: SetLoad) -> dict[str, Any]:
        return asdict(console.set_load(task, given.load))

    @api.post("/tasks/{task}/clone", status_code=201, summary="The same task again, with changes")
    def clone(task: str, given: Clone | None = None) -> dict[str, Any]:
        given = given or Clone()
        return shown(console.clone(task, given.settings, start=given.start))

    @api.post("/tasks/{task}/move", summary="Move a task in the queue: -1 towards its front, 1 towards its end")
    def move(task: str, places: int) -> dict[str, Any]:
        console.move(task, places)
        return shown(console.task(task))

    @api.get("/tasks/{task}/live", summary="The lines of live.jsonl; `run`: of a run of a search or a sweep")
    def live(task: str, after: int = 0, run: str | None = None) -> list[dict[str, Any]]:
        return console.live(task, max(after, 0), run)

    @api.get("/tasks/{task}/summary", summary="summary.json, search.json or sweep.json: every number of the report")
    def summary(task: str) -> Response:
        path = console.folder.file(task, KINDS[console.task(task).kind].numbers)
        return FileResponse(path, media_type="application/json")

    @api.get("/tasks/{task}/requests", summary="requests.jsonl: every request")
    def requests(task: str) -> Response:
        return FileResponse(
            console.folder.file(task, REQUESTS), media_type="application/jsonl", filename=f"{task}.jsonl"
        )

    @api.get("/tasks/{task}/report", summary="The page of the report")
    def report(task: str, download: bool = False) -> Response:
        name = f"{task}.html" if download else None
        path = console.folder.file(task, KINDS[console.task(task).kind].page)
        return FileResponse(
            path, media_type="text/html", filename=name, headers={"content-security-policy": REPORT_POLICY}
        )

    @api.get("/tasks/{task}/text", summary="The report as text to copy: Markdown of a run, else what a terminal shows")
    def text(task: str) -> Response:
        kind = console.task(task).kind
        path = console.folder.file(task, KINDS[kind].numbers)
        return PlainTextResponse(report_text(kind, path.parent))

    @api.get("/tasks/{task}/runs/{run}/report.html", summary="The report of a run of a search or a sweep")
    def report_of_run(task: str, run: str) -> Response:
        path = console.folder.file(task, REPORT, run)
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    @api.get("/tasks/{task}/certificate", summary="The page of the certificate of a calibration")
    def certificate(task: str) -> Response:
        path = console.folder.file(task, CERTIFICATE_PAGE)
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    @api.get("/tasks/{task}/zip", summary="The run directory as a ZIP")
    def archive(task: str) -> Response:
        name = f'attachment; filename="{task}.zip"'
        return Response(console.archive(task), media_type="application/zip", headers={"content-disposition": name})

    @api.get(
        "/tasks/{task}/events",
        summary="Server-sent events: `task` when it changes, `line` for each line of live.jsonl, `run` for a new run in it",
    )
    async def events(task: str, request: Request, after: int = 0) -> EventSourceResponse:
        console.task(task)
        resumed, _, run = request.headers.get("last-event-id", "").partition(" ")
        seen = int(resumed) if resumed.isdecimal() else max(after, 0)
        return EventSourceResponse(_events(console, task, seen, run or None))

    @api.get("/compare", summary="Tasks against the first, or the baseline: compare.json, and why some are left out")
    def compare(
        task: Annotated[list[str], Query()], by: str = "task", margin: str = DEFAULT_MARGIN, allow: str = ""
    ) -> dict[str, Any]:
        found = console.compared(task, by=by, margin=margin, allow=allow)
        return {"comparison": found.document, "left_out": found.left_out, "allow": found.allow}

    @api.get("/compare/page", summary="The same as a page: that of python -m bench compare")
    def compare_page(
        task: Annotated[list[str], Query()], by: str = "task", margin: str = DEFAULT_MARGIN, allow: str = ""
    ) -> Response:
        found = console.compared(task, by=by, margin=margin, allow=allow)
        if found.page is None:
            raise Conflict("; ".join(found.left_out))
        return HTMLResponse(found.page, headers={"content-security-policy": REPORT_POLICY})

    @api.get("/targets", summary="The saved targets, and the running mock")
    def targets() -> list[dict[str, Any]]:
        return [asdict(target) for target in console.targets()]

    @api.post("/targets", status_code=201, summary="Save a target")
    def save(target: NewTarget) -> dict[str, Any]:
        return asdict(console.save_target(target.model_dump()))

    @api.delete("/targets/{name}", status_code=204, summary="Forget a target")
    def forget(name: str) -> Response:
        console.target(name)
        console.store.remove_target(name)
        return Response(status_code=204)

    @api.post("/targets/{name}/probe", summary="Ask a target for one short reply")
    async def probe(name: str) -> dict[str, str]:
        return {"says": await console.probe({}, {}, console.target(name))}

    @api.get("/mock", summary="Whether the built-in mock runs, and where")
    def mock() -> dict[str, str | None]:
        return {"url": console.mock.url, "flags": console.mock.flags}

    @api.post("/mock/start", summary="Start the built-in mock")
    def mock_start(given: MockFlags | None = None) -> dict[str, str]:
        return {"url": console.mock.start((given or MockFlags()).flags)}

    @api.post("/mock/stop", status_code=204, summary="Stop the built-in mock")
    def mock_stop() -> Response:
        console.mock.stop()
        return Response(status_code=204)

    @api.get("/files", summary="The uploaded data files")
    def files() -> list[dict[str, Any]]:
        return [asdict(file) for file in console.files.listed()]

    @api.post("/files", status_code=201, summary="Upload a data file, or a ZIP of some: the body is its content")
    async def upload(request: Request, name: str, whole: bool = False) -> dict[str, list[str]]:
        content = await request.body()
        return {"names": await run_in_threadpool(console.files.add, name, content, whole=whole)}

    @api.post("/files/fetch", status_code=201, summary="Let the console fetch a data file from a URL")
    async def fetched(given: FetchFile) -> dict[str, list[str]]:
        name, content = await fetch(given.url)
        return {"names": await run_in_threadpool(console.files.add, name, content, whole=given.whole)}

    @api.get("/files/{name}", summary="The first rows of a data file")
    def preview(name: str) -> dict[str, Any]:
        return {"name": name, "rows": console.files.preview(name)}

    @api.delete("/files/{name}", status_code=204, summary="Delete a data file")
    def unlink(name: str) -> Response:
        console.files.remove(name)
        return Response(status_code=204)

    return api


def selected(tasks: list[Task], state: str | None, label: str | None, search: str) -> list[Task]:
    """The tasks of a state and a label, in which a text occurs."""
    wanted = search.lower().strip()
    return [
        task
        for task in tasks
        if (not state or task.state == state)
        and (not label or task.marks.label == label)
        and (
            not wanted or wanted in f"{task.id} {task.title} {task.target} {task.load} {task.marks.note or ''}".lower()
        )
    ]


async def _events(console: Console, name: str, after: int, run: str | None) -> AsyncIterator[ServerSentEvent]:
    """What happens to a task until it is over. `run`: the run of a search or a sweep of which `after` lines were sent."""
    clock, last = LoopClock(), b""
    while True:
        try:
            task = await run_in_threadpool(console.task, name)
            if task.run is not None and task.run != run:
                run, after = task.run, 0
                yield ServerSentEvent(orjson.dumps({"run": run}).decode(), event="run")
            rows = await run_in_threadpool(console.live, name, after, run)
        except NotFound:
            return
        for row in rows:
            after += 1
            told_row = {**row, "warnings": warnings_of(row["client"])}
            event_id = f"{after}" if run is None else f"{after} {run}"
            yield ServerSentEvent(orjson.dumps(told_row).decode(), event="line", id=event_id)
        told = orjson.dumps(shown(task))
        if told != last:
            last = told
            yield ServerSentEvent(told.decode(), event="task")
        if task.over:
            return
        await sleep_until(clock, clock.now_ns() + EVENT_EVERY_NS)
