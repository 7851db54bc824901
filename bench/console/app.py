"""The application: routes, static files, and the access checks in front of both."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from threading import Event

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import NotModifiedResponse
from starlette.types import ASGIApp, Scope

from bench.console import api, pages
from bench.console.error_page import error_page
from bench.console.errors import ConsoleError, DiskProblem, NotFound, Refused
from bench.console.language import InLanguage, Phrase, shown, tr
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
    """The console as an ASGI application. Its lifespan runs the task queue."""

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
    app.mount("/static/report", _Static(packages=[("bench.report", "template")]))
    app.mount("/static", _Static(directory=Path(__file__).with_name("static")))
    app.add_exception_handler(ConsoleError, _answer_error)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _answer_disk)
    app.add_exception_handler(sqlite3.Error, _answer_disk)
    return InLanguage(Guard(app, keys, host=host, cookie=f"trueload_{port}", secure=tls, proxy=proxy), secure=tls)


class _Static(StaticFiles):
    """Static files that a browser caches but revalidates on each use, since they change with the version. The ETag is a
    hash of the content, because an installation may give every file the same date."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        tag = f'"{sha256(Path(full_path).read_bytes()).hexdigest()[:32]}"'
        headers = {"cache-control": "no-cache", "etag": tag}
        if Headers(scope=scope).get("if-none-match") == tag:
            return NotModifiedResponse(Headers(headers))
        return FileResponse(full_path, status_code=status_code, stat_result=stat_result, headers=headers)


def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConsoleError)
    content: dict[str, object] = {"error": shown(str(error))}
    if isinstance(error, Refused):
        content["problems"] = [{"field": field, "problem": shown(problem)} for field, problem in error.problems]
    title = tr("Not here") if error.status == 404 else tr("That did not work")
    return _error(request, error.status, title, str(error), content)


def _not_routed(request: Request, error: Exception) -> Response:
    """Answer an unknown path, or a known path with another method."""
    assert isinstance(error, HTTPException)
    path, missing = request.url.path, error.status_code == 404
    no_page = tr("the console has no page %(path)s", path=path)
    sentence = no_page if missing else tr("%(path)s does not accept %(method)s", path=path, method=request.method)
    title = tr("Not here") if missing else tr("That did not work")
    return _error(request, error.status_code, title, sentence, {"error": shown(sentence)})


def _error(request: Request, status: int, title: Phrase, sentence: str, content: dict[str, object]) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse(content, status_code=status)
    link = Markup("<p><a href=/>{}</a></p>").format(shown(tr("All tasks")))
    return error_page(status, title, sentence, link)


def _answer_disk(request: Request, error: Exception) -> Response:
    """Answer with one sentence if the disk is full or broken. Running tasks continue: they keep their records in memory
    meanwhile."""
    gone = isinstance(error, FileNotFoundError)
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    problem = DiskProblem(
        tr("a file of the console cannot be read or written (%(why)s): look at the disk of its runs folder", why=why)
    )
    return _answer_error(request, NotFound(tr("this was deleted in the meantime")) if gone else problem)


def _invalid(request: Request, error: Exception) -> Response:
    """Name the problems of a JSON body without its values, which may be secret."""
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
