"""Targets, the built-in mock, and data files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from bench.console.access import TheConsole
from bench.console.api.bodies import FetchFile, MockFlags, NewTarget

routes = APIRouter()


@routes.get("/targets", summary="The saved targets, and the running mock")
def targets(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(target) for target in console.targets()]


@routes.post("/targets", status_code=201, summary="Save a target")
def save(console: TheConsole, target: NewTarget) -> dict[str, Any]:
    return asdict(console.save_target(target.model_dump()))


@routes.delete("/targets/{name}", status_code=204, summary="Forget a target")
def forget(console: TheConsole, name: str) -> Response:
    console.remove_target(name)
    return Response(status_code=204)


@routes.post("/targets/{name}/probe", summary="Ask a target for one short reply")
def probe(console: TheConsole, name: str) -> dict[str, str]:
    return {"says": console.probe({}, {}, console.target(name))}


@routes.get("/mock", summary="Whether the built-in mock runs, and where")
def mock(console: TheConsole) -> dict[str, str | None]:
    return {"url": console.mock.url, "flags": console.mock.flags}


@routes.post("/mock/start", summary="Start the built-in mock")
def mock_start(console: TheConsole, given: MockFlags | None = None) -> dict[str, str]:
    return {"url": console.mock.start((given or MockFlags()).flags)}


@routes.post("/mock/stop", status_code=204, summary="Stop the built-in mock")
def mock_stop(console: TheConsole) -> Response:
    console.mock.stop()
    return Response(status_code=204)


@routes.get("/files", summary="The uploaded data files")
def files(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(file) for file in console.files.listed()]


@routes.post("/files", status_code=201, summary="Upload a data file, or a ZIP of some: the body is its content")
async def upload(console: TheConsole, request: Request, name: str, whole: bool = False) -> dict[str, list[str]]:
    content = await request.body()
    return {"names": await run_in_threadpool(console.files.add, name, content, whole=whole)}


@routes.post("/files/fetch", status_code=201, summary="Let the console fetch a data file from a URL")
async def fetched(console: TheConsole, given: FetchFile) -> dict[str, list[str]]:
    return {"names": await console.fetch(given.url, whole=given.whole)}


@routes.get("/files/{name}", summary="The first rows of a data file")
def preview(console: TheConsole, name: str) -> dict[str, Any]:
    return {"name": name, "rows": console.files.preview(name)}


@routes.delete("/files/{name}", status_code=204, summary="Delete a data file")
def unlink(console: TheConsole, name: str) -> Response:
    console.files.remove(name)
    return Response(status_code=204)
