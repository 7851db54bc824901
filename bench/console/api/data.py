"""Data files: sent in one request, or as an upload that can resume after a lost connection."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from bench.console.access import TheConsole
from bench.console.api.bodies import BeginUpload, FetchByName, FetchFile, FinishUpload
from bench.console.data_rows import Rows

routes = APIRouter()


@routes.get("/files", summary="The uploaded data files")
def files(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(file) for file in console.files.listed()]


@routes.post(
    "/files", status_code=201, summary="Upload a data file of at most 64 MiB, or a ZIP: the body is its content"
)
async def add(
    console: TheConsole, request: Request, name: str, whole: bool = False, base64: bool = False
) -> dict[str, list[str]]:
    content = await request.body()
    return {"names": await run_in_threadpool(console.files.add, name, content, Rows(whole, base64))}


@routes.post("/files/fetch", status_code=201, summary="Let the console fetch a data file from a URL")
async def fetched(console: TheConsole, given: FetchFile) -> dict[str, list[str]]:
    return {"names": await console.fetch(given.url, given.rows)}


@routes.post(
    "/files/by-name",
    status_code=201,
    summary="Let the console load a file of a data set on a hub, and answer when it is there",
)
def fetched_by_name(console: TheConsole, given: FetchByName) -> dict[str, list[str]]:
    load = console.hub_loads.begin(given.hub, given.name, given.file, given.rows)
    return {"names": list(console.hub_loads.loaded(load.id))}


@routes.get("/hub-loads", summary="The files of data sets on hubs that the console loads, or has loaded")
def hub_loads(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(load) for load in console.hub_loads.listed()]


@routes.post("/hub-loads", status_code=201, summary="Begin to load a file of a data set on a hub")
def begin_hub_load(console: TheConsole, given: FetchByName) -> dict[str, Any]:
    return asdict(console.hub_loads.begin(given.hub, given.name, given.file, given.rows))


@routes.get(
    "/hub-loads/{load}", summary="How far it is: state, bytes, seconds; wait_s: answer at its end, or after so long"
)
def hub_load(console: TheConsole, load: str, wait_s: Annotated[float, Query(ge=0, le=30)] = 0.0) -> dict[str, Any]:
    return asdict(console.hub_loads.load(load, wait_s))


@routes.delete(
    "/hub-loads/{load}", status_code=204, summary="Cancel a load, or take one that has ended out of the list"
)
def cancel_hub_load(console: TheConsole, load: str) -> Response:
    console.hub_loads.remove(load)
    return Response(status_code=204)


@routes.get("/files/{name}", summary="The first rows of a data file")
def preview(console: TheConsole, name: str) -> dict[str, Any]:
    return {"name": name, "rows": console.files.preview(name)}


@routes.delete("/files/{name}", status_code=204, summary="Delete a data file")
def unlink(console: TheConsole, name: str) -> Response:
    console.files.remove(name)
    return Response(status_code=204)


@routes.get("/uploads", summary="The uploads that have not ended")
def uploads(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(upload) for upload in console.uploads.listed()]


@routes.post("/uploads", status_code=201, summary="Begin an upload of at most 2 GiB")
def begin(console: TheConsole, given: BeginUpload) -> dict[str, Any]:
    return asdict(console.uploads.begin(given.name, given.size_bytes, given.rows))


@routes.get("/uploads/{upload}", summary="How much of an upload has arrived")
def upload(console: TheConsole, upload: str) -> dict[str, Any]:
    return asdict(console.uploads.upload(upload))


@routes.put("/uploads/{upload}", summary="The next bytes of an upload, which Content-Range names; none: all of it")
async def receive(console: TheConsole, request: Request, upload: str) -> Response:
    content_range = request.headers.get("content-range")
    try:
        received = await console.uploads.receive(upload, content_range, request.stream())
    except ClientDisconnect:  # The received bytes are kept.
        return Response(status_code=400)
    return JSONResponse(asdict(received))


@routes.post(
    "/uploads/{upload}/finish", status_code=201, summary="Check the hash of an upload, and keep it as a data file"
)
async def finish(console: TheConsole, upload: str, given: FinishUpload) -> dict[str, list[str]]:
    return {"names": await console.uploads.finish(upload, given.sha256)}


@routes.delete("/uploads/{upload}", status_code=204, summary="Delete what has arrived of an upload")
def cancel(console: TheConsole, upload: str) -> Response:
    console.uploads.remove(upload)
    return Response(status_code=204)
