"""Uploaded data files, and unfinished uploads."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData, UploadFile

from bench.console.data_files import MOST_BYTES, MOST_FILES, MOST_UPLOADED
from bench.console.data_rows import Rows
from bench.console.errors import ConsoleError
from bench.console.hub_loads import KEPT
from bench.console.hubs import HUBS
from bench.console.language import tr
from bench.console.pages.site import TheSite, back
from bench.console.service import Console

SPLITS = {
    "line": (tr("a line of the file"), Rows()),
    "whole": (tr("the whole file, or each file of the ZIP"), Rows(whole=True)),
    "base64": (tr("a line, the Base64 of a body"), Rows(base64=True)),
    "whole-base64": (tr("the whole file, the Base64 of a body"), Rows(whole=True, base64=True)),
}
"""The page's choices of how a file is split into requests."""

routes = APIRouter()


@routes.get("/data")
def data(request: Request, site: TheSite) -> HTMLResponse:
    answer = site.answer_of(request)
    files = [(file, site.console.files.preview(file.name)) for file in site.console.files.listed()]
    values = {
        "files": files,
        "loads": [load for load in site.console.hub_loads.listed() if load.state != KEPT],
        "uploads": site.console.uploads.listed(),
        "splits": SPLITS,
        "hubs": HUBS,
        "most_gib": MOST_UPLOADED // 2**30,
        "most_mib": MOST_BYTES // 2**20,
        "most_files": MOST_FILES,
        "typed": {},
    }
    return site.page("data", answer.status, **{**values, **answer.values})


@routes.post("/data")
async def upload(request: Request, site: TheSite) -> Response:
    typed: dict[str, str] = {}
    try:
        async with request.form(max_files=1, max_fields=10) as form:
            typed = {name: value for name, value in form.items() if isinstance(value, str)}
            await _keep_posted(form, site.console)
    except ConsoleError as e:
        return site.answer("/data", e.status, problem=str(e), typed=typed)
    return back("/data")


@routes.post("/data/{of}/{name}/remove")
def remove(of: Literal["files", "uploads", "loads"], name: str, site: TheSite) -> Response:
    console = site.console
    {"files": console.files.remove, "uploads": console.uploads.remove, "loads": console.hub_loads.remove}[of](name)
    return back("/data")


async def _keep_posted(form: FormData, console: Console) -> None:
    """Store the file or the URL's file that the form contains (for use without scripts), or begin to load one from a hub."""
    file, (_, rows) = form.get("file"), SPLITS.get(str(form.get("split")), SPLITS["line"])
    if isinstance(file, UploadFile) and file.filename:
        await run_in_threadpool(console.files.add, file.filename, await file.read(), rows)
    elif url := str(form.get("url") or "").strip():
        await console.fetch(url, rows)
    elif name := str(form.get("name") or "").strip():
        file_of_it = str(form.get("file_of_it") or "").strip() or None
        await run_in_threadpool(console.hub_loads.begin, str(form.get("hub")), name, file_of_it, rows)
    else:
        raise ConsoleError(tr("choose a file, or give a URL or the name of a data set"))
