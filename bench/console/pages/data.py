"""Uploaded data files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import UploadFile

from bench.console.data_files import MOST_BYTES, MOST_FILES
from bench.console.errors import ConsoleError
from bench.console.pages.site import TheSite, back
from bench.console.service import Console

routes = APIRouter()


@routes.get("/data")
def data(request: Request, site: TheSite) -> HTMLResponse:
    answer = site.answer_of(request)
    files = [(file, site.console.files.preview(file.name)) for file in site.console.files.listed()]
    values = {"files": files, "most_mib": MOST_BYTES // 2**20, "most_files": MOST_FILES}
    return site.page("data", answer.status, **{**values, **answer.values})


@routes.post("/data")
async def upload(request: Request, site: TheSite) -> Response:
    try:
        await _keep_posted(request, site.console)
    except ConsoleError as e:
        return site.answer("/data", e.status, problem=str(e))
    return back("/data")


@routes.post("/data/{name}/remove")
def remove(name: str, site: TheSite) -> Response:
    site.console.files.remove(name)
    return back("/data")


async def _keep_posted(request: Request, console: Console) -> None:
    """Keep an uploaded file, or the file at a URL."""
    async with request.form(max_files=1, max_fields=10) as form:
        file, whole = form.get("file"), form.get("split") == "whole"
        if isinstance(file, UploadFile) and file.filename:
            await run_in_threadpool(console.files.add, file.filename, await file.read(), whole=whole)
        elif url := str(form.get("url") or "").strip():
            await console.fetch(url, whole=whole)
        else:
            raise ConsoleError("choose a file, or give a URL")
