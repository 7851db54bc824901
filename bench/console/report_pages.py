"""Reports as the pages show them: in a sandbox, whose links the page around it opens.

A report in a sandbox is of no origin: what it opens by itself comes without the cookie and is refused. So it only says which
link was clicked, and the page of the console opens what is meant, if it is a file beside the report.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from bench.console.errors import NotFound
from bench.console.kinds import KINDS
from bench.console.security import REPORT_POLICY
from bench.console.service import Console
from bench.run_files.run_directory import CERTIFICATE_PAGE, REPORT, REQUESTS

_SCRIPT = b"""
document.addEventListener("click", (event) => {
  const href = event.target.closest?.("a[href]")?.getAttribute("href");
  if (!href || parent === window || !/^[\\w-][\\w.-]*(\\/[\\w-][\\w.-]*)?$/.test(href)) return;
  event.preventDefault();
  parent.postMessage({ beside: href }, "*");
});
"""
TELLS_LINKS = b"<script>" + _SCRIPT + b"</script>\n"
_ALLOWED = b"script-src 'sha256-" + b64encode(sha256(_SCRIPT).digest()) + b"' "


def add(pages: APIRouter, console: Console, page: Callable[..., HTMLResponse]) -> None:
    """The routes, for the pages of one console. `page` renders a template."""

    @pages.get("/tasks/{name}/report")
    def report(name: str) -> Response:
        return _framed(console.folder.file(name, KINDS[console.task(name).kind].page))

    @pages.get("/tasks/{name}/runs/{run}")
    def run_page(name: str, run: str) -> Response:
        console.folder.file(name, REPORT, run)
        task = console.task(name)
        step = next((step for step in task.steps if step.run == run), None)
        return page("run", task=task, run=run, step=step)

    @pages.get("/tasks/{name}/runs/{run}/report")
    def report_of_run(name: str, run: str) -> Response:
        return _framed(console.folder.file(name, REPORT, run))

    @pages.get("/tasks/{name}/beside/{file}")
    def beside(name: str, file: str) -> Response:
        if file == CERTIFICATE_PAGE:
            return RedirectResponse(f"/api/tasks/{quote(name)}/certificate", status_code=303)
        return _requests(name, file)

    @pages.get("/tasks/{name}/beside/{run}/{file}")
    def beside_run(name: str, run: str, file: str) -> Response:
        if file == REPORT:
            return RedirectResponse(f"/tasks/{quote(name)}/runs/{quote(run)}", status_code=303)
        return _requests(name, file, run)

    def _requests(name: str, file: str, run: str | None = None) -> Response:
        if file != REQUESTS:
            raise NotFound(f"beside the report of {name!r} there is no {file!r} to show")
        called = f"{name}.jsonl" if run is None else f"{name}-{run}.jsonl"
        path = console.folder.file(name, REQUESTS, run)
        return FileResponse(path, media_type="application/jsonl", filename=called)


def _framed(path: Path) -> Response:
    # The report's own policy names the one script that it has: ours is named beside it.
    content = path.read_bytes().replace(b"script-src ", _ALLOWED, 1)
    return HTMLResponse(content + TELLS_LINKS, headers={"content-security-policy": REPORT_POLICY})
