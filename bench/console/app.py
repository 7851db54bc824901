"""The application: routes, static files, and the guard in front of both."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from markupsafe import escape
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from bench.console import api, pages
from bench.console.errors import ConsoleError, DiskProblem, NotFound, Refused
from bench.console.pages.site import Site
from bench.console.people import Proxy
from bench.console.security import Guard, Keys
from bench.console.service import Console


def create_app(
    console: Console,
    keys: Keys,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: bool = False,
    proxy: Proxy | None = None,
) -> ASGIApp:
    """The console as an ASGI application. Its queue is looked after for as long as it lives."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue, ending = asyncio.create_task(console.runner.run()), Event()
        index = asyncio.create_task(asyncio.to_thread(console.folder.index, ending.is_set))
        try:
            yield
        finally:
            ending.set()
            await index
            queue.cancel()
            with suppress(asyncio.CancelledError):
                await queue
            await asyncio.to_thread(console.close)

    app = FastAPI(
        title="Trueload console",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.console, app.state.site = console, Site(console, keys.csrf)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static/report", StaticFiles(packages=[("bench.report", "template")]))
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    app.add_exception_handler(ConsoleError, _answer_error)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _answer_disk)
    app.add_exception_handler(sqlite3.Error, _answer_disk)
    return Guard(app, keys, host=host, cookie=f"trueload_{port}", secure=tls, proxy=proxy)


def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConsoleError)
    content: dict[str, object] = {"error": str(error)}
    if isinstance(error, Refused):
        content["problems"] = [{"field": field, "problem": problem} for field, problem in error.problems]
    return _error(request, error.status, "That did not work", str(error), content)


def _not_routed(request: Request, error: Exception) -> Response:
    """An unknown path, or a known path with another method."""
    assert isinstance(error, HTTPException)
    path, missing = request.url.path, error.status_code == 404
    sentence = f"the console has no page {path}" if missing else f"{path} takes no {request.method}"
    return _error(
        request, error.status_code, "Not here" if missing else "That did not work", sentence, {"error": sentence}
    )


def _error(request: Request, status: int, title: str, sentence: str, content: dict[str, object]) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse(content, status_code=status)
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Trueload</title><link rel=stylesheet href=/static/console.css>"
        f"<main class=narrow><h1>{title}</h1><p>{escape(sentence[:1].upper() + sentence[1:])}.</p>"
        "<p><a href=/>All tasks</a></p></main>"
    )
    return HTMLResponse(page, status_code=status)


def _answer_disk(request: Request, error: Exception) -> Response:
    """One sentence for a disk that is full or broken. Tasks that run go on: they keep their records in memory meanwhile."""
    gone = isinstance(error, FileNotFoundError)
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    told = DiskProblem(f"a file of the console cannot be read or written ({why}): look at the disk of its runs folder")
    return _answer_error(request, NotFound("this was deleted meanwhile") if gone else told)


def _invalid(request: Request, error: Exception) -> Response:
    """Names the problems of a JSON body and leaves its values out: they may be secret."""
    assert isinstance(error, RequestValidationError)
    problems = [
        {"field": ".".join(str(part) for part in problem["loc"][1:]) or None, "problem": problem["msg"]}
        for problem in error.errors()
    ]
    sentences = "; ".join(f"{problem['field'] or 'body'}: {problem['problem']}" for problem in problems)
    return JSONResponse({"error": sentences, "problems": problems}, status_code=422)


def _version() -> str:
    try:
        return version("trueload")
    except PackageNotFoundError:
        return "0"
