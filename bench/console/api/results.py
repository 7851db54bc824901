"""The results of tasks: live metrics, reports, files, comparisons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.console import exports
from bench.console.access import TheConsole
from bench.console.comparing import DEFAULT_MARGIN, Comparison
from bench.console.errors import Conflict, NotFound
from bench.console.health import warnings_of
from bench.console.kinds import SHOWN, unreadable
from bench.console.language import Phrase, shown, tr
from bench.console.report_text import report_text
from bench.console.security import REPORT_POLICY
from bench.console.service import Console
from bench.run_files.run_directory import CERTIFICATE_PAGE, REPORT, REQUESTS, SUMMARY

EVENT_EVERY_NS = NS_PER_S // 2
MOST_DIGITS = 18
"""Digits of a line number. Python refuses to parse integers of over 4,300 digits."""
_SANDBOX = {"content-security-policy": REPORT_POLICY}

routes = APIRouter()


@contextmanager
def _readable(path: Path, kind: str = "run") -> Iterator[None]:
    """Turn any error that a damaged results file raises into one sentence."""
    try:
        yield
    except Exception as e:
        raise Conflict(unreadable(path, kind, e)) from e


@routes.get("/tasks/{task}/live", summary="The lines of live.jsonl; `run`: of a run of a search or a sweep")
def live(console: TheConsole, task: str, after: int = 0, run: str | None = None) -> list[dict[str, Any]]:
    return console.live(task, max(after, 0), run)


@routes.get("/tasks/{task}/summary", summary="summary.json, search.json or sweep.json: every number of the report")
def summary(console: TheConsole, task: str) -> Response:
    path = console.folder.file(task, SHOWN[console.task(task).kind].numbers)
    return FileResponse(path, media_type="application/json")


@routes.get("/tasks/{task}/requests", summary="requests.jsonl: every request")
def requests(console: TheConsole, task: str) -> Response:
    path = console.folder.file(task, REQUESTS)
    return FileResponse(path, media_type="application/jsonl", filename=f"{task}.jsonl")


@routes.get("/tasks/{task}/requests.{form}", summary="The same as a table, one row per request: csv or parquet")
def request_table(console: TheConsole, task: str, form: str) -> Response:
    directory = console.folder.file(task, REQUESTS).parent
    if (now := console.task(task)).active:  # Its command would also write a report of the part so far.
        raise Conflict(tr("%(task)s is %(state)s: stop it first", task=task, state=Phrase(now.state)))
    path = exports.request_table(directory, form)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{task}-requests.{form}")


@routes.get("/tasks/{task}/numbers.csv", summary="The numbers of a run, one row per metric")
def numbers(console: TheConsole, task: str) -> Response:
    path = console.folder.file(task, SUMMARY)
    with _readable(path):
        content = exports.numbers(path)
    return Response(content, media_type="text/csv", headers=_download(f"{task}.csv"))


@routes.get("/tasks/{task}/report", summary="The page of the report")
def report(console: TheConsole, task: str, download: bool = False) -> Response:
    path = console.folder.file(task, SHOWN[console.task(task).kind].page)
    return FileResponse(path, media_type="text/html", filename=f"{task}.html" if download else None, headers=_SANDBOX)


@routes.get("/tasks/{task}/text", summary="The report as text to copy: Markdown of a run, else what a terminal shows")
def text(console: TheConsole, task: str, download: bool = False) -> Response:
    kind = console.task(task).kind
    path = console.folder.file(task, SHOWN[kind].numbers)
    headers = _download(f"{task}.{'txt' if SHOWN[kind].sign else 'md'}") if download else None
    with _readable(path, kind):
        return PlainTextResponse(report_text(kind, path.parent), headers=headers)


@routes.get("/tasks/{task}/runs/{run}/report.html", summary="The report of a run of a search or a sweep")
def report_of_run(console: TheConsole, task: str, run: str) -> Response:
    return FileResponse(console.folder.file(task, REPORT, run), media_type="text/html", headers=_SANDBOX)


@routes.get("/tasks/{task}/certificate", summary="The page of the certificate of a calibration")
def certificate(console: TheConsole, task: str) -> Response:
    return FileResponse(console.folder.file(task, CERTIFICATE_PAGE), media_type="text/html", headers=_SANDBOX)


@routes.get("/tasks/{task}/zip", summary="The run directory as a ZIP")
def archive(console: TheConsole, task: str) -> Response:
    return Response(console.archive(task), media_type="application/zip", headers=_download(f"{task}.zip"))


def _download(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


@routes.get(
    "/tasks/{task}/events",
    summary="Server-sent events: `task` when it changes, `line` for each line of live.jsonl, `run` for a new run in it",
)
async def events(console: TheConsole, task: str, request: Request, after: int = 0) -> EventSourceResponse:
    console.task(task)
    resumed, _, run = request.headers.get("last-event-id", "").partition(" ")
    lines_sent = int(resumed) if resumed.isdecimal() and len(resumed) <= MOST_DIGITS else max(after, 0)
    return EventSourceResponse(_events(console, task, lines_sent, run or None))


def _compared(
    console: TheConsole,
    task: Annotated[list[str], Query()],
    by: str = "task",
    margin: str = DEFAULT_MARGIN,
    allow: str = "",
) -> Comparison:
    return console.compared(task, by=by, margin=margin, allow=allow)


Compared = Annotated[Comparison, Depends(_compared)]


@routes.get("/compare", summary="Tasks against the first, or the baseline: compare.json, and why some are left out")
def compare(comparison: Compared) -> dict[str, Any]:
    return {"comparison": comparison.document, "left_out": comparison.left_out, "allow": comparison.allow}


@routes.get("/compare/page", summary="The same as a page: that of python -m bench compare")
def compare_page(comparison: Compared) -> Response:
    if comparison.page is None:
        raise Conflict("; ".join(comparison.left_out))
    return HTMLResponse(comparison.page, headers=_SANDBOX)


async def _events(console: Console, name: str, after: int, run: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a task until it is over. The client already has `after` lines of `run`, a run of a search or
    a sweep."""
    clock, last_state = LoopClock(), b""
    position: int | None = None
    while True:
        try:
            task = await run_in_threadpool(console.task, name)
        except NotFound:
            return
        begun = task.run is not None and task.run != run
        # Before the lines of the next run, the last ones of this run.
        for each in [run, task.run] if begun and run is not None else [task.run if begun else run]:
            if each != run:
                run, after, position = each, 0, None
                yield ServerSentEvent(orjson.dumps({"run": run}).decode(), event="run")
            try:
                rows, position = await run_in_threadpool(console.followed_live, name, run, after, position)
            except NotFound:
                if begun and each != task.run:  # It was moved aside, or the client names no run.
                    continue
                return
            for row in rows:
                after += 1
                if row is None:
                    continue
                line = {**row, "warnings": [shown(warning) for warning in warnings_of(row["client"])]}
                event_id = f"{after}" if run is None else f"{after} {run}"
                yield ServerSentEvent(orjson.dumps(line).decode(), event="line", id=event_id)
        state = orjson.dumps(task.to_json())
        if state != last_state:
            last_state = state
            yield ServerSentEvent(state.decode(), event="task")
        # Ending here keeps uvicorn from logging an error when it has to cut the stream.
        if task.over or console.ending.is_set():
            return
        await sleep_until(clock, clock.now_ns() + EVENT_EVERY_NS)
