"""Shows reports in sandboxed frames as tall as their content; the enclosing page opens their links. The frame itself
does not scroll, so the report's period bar follows scroll messages from the enclosing page.

A sandboxed report has no origin: pages that it opens itself are requested without the cookie and refused. So it only
reports the clicked link to the enclosing page, which opens it if it names a file beside the report.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from bench.console.access import TheConsole
from bench.console.errors import Conflict, NotFound
from bench.console.kinds import SHOWN, kind_of
from bench.console.language import tr
from bench.console.pages.site import TheSite, back
from bench.console.security import REPORT_POLICY
from bench.console.service import Console
from bench.run_files.run_directory import CERTIFICATE_PAGE, REQUESTS

_SCRIPT = b"""
if (parent !== window) {
  const tell = () => parent.postMessage({ height: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
  new ResizeObserver(tell).observe(document.body);
  document.documentElement.style.overflow = "hidden";
  addEventListener("message", ({ source, data }) => {
    const bar = document.querySelector("#period");
    if (source === parent) tell();
    if (source !== parent || !bar || !(data?.above >= 0)) return;
    bar.style.transform = "";
    const at = bar.getBoundingClientRect(), end = bar.closest("section").getBoundingClientRect().bottom - at.bottom;
    bar.style.transform = `translateY(${Math.max(0, Math.min(data.above - at.top, end))}px)`;
  });
} else if (location.search === "?print=1") {
  addEventListener("load", () => print());
}
document.addEventListener("click", (event) => {
  const href = event.target.closest?.("a[href]")?.getAttribute("href");
  if (!href || parent === window || !/^[\\w-][\\w.-]*(\\/[\\w-][\\w.-]*)?$/.test(href)) return;
  event.preventDefault();
  parent.postMessage({ beside: href }, "*");
});
"""
_STYLE = b"""
@media screen{body>header .brand{display:none}body>header{padding-top:4px}
body>header,body>main,body>footer{max-width:none;padding-left:0;padding-right:0}}
"""
"""The enclosing page has the brand and the margins."""
_UNTITLED = b"<style>@media screen{body>header h1{display:none}}</style>\n"
"""The enclosing page shows the task's title."""
IN_A_FRAME = b"<style>" + _STYLE + b"</style><script>" + _SCRIPT + b"</script>\n"
_ALLOWED = b"script-src 'sha256-" + b64encode(sha256(_SCRIPT).digest()) + b"' "
_SANDBOX = {"content-security-policy": REPORT_POLICY}

routes = APIRouter()


@routes.get("/tasks/{name}/report")
def report(name: str, console: TheConsole) -> Response:
    return _framed(console.folder.file(name, SHOWN[console.task(name).kind].page).read_bytes() + _UNTITLED)


# A run of a race may itself be a search that contains runs: `run` is the path from the task.
@routes.get("/tasks/{name}/runs/{run:path}/report")
def report_of_run(name: str, run: str, console: TheConsole) -> Response:
    return _framed(_page_of_run(console, name, run).read_bytes() + _UNTITLED)


@routes.get("/tasks/{name}/runs/{run:path}")
def run_page(name: str, run: str, site: TheSite) -> Response:
    _page_of_run(site.console, name, run)
    task = site.console.task(name)
    step = next((step for step in task.steps if step.run == run), None)
    return site.page("run", task=task, run=run, step=step)


@routes.get("/tasks/{name}/beside/{place:path}")
def beside(name: str, place: str, console: TheConsole) -> Response:
    run, _, file = place.rpartition("/")
    if run and file == _page_of_run(console, name, run).name:
        return back(f"/tasks/{quote(name)}/runs/{quote(run)}")
    if file == CERTIFICATE_PAGE:
        return HTMLResponse(console.folder.file(name, file, run or None).read_bytes(), headers=_SANDBOX)
    if file != REQUESTS:
        raise NotFound(tr("the report of %(task)s has no file %(file)s", task=repr(name), file=repr(file)))
    filename = f"{'-'.join([name, *run.split('/')]) if run else name}.jsonl"
    return FileResponse(console.folder.file(name, file, run or None), media_type="application/jsonl", filename=filename)


def _page_of_run(console: Console, name: str, run: str) -> Path:
    return console.folder.file(name, SHOWN[kind_of(console.folder.run(name, run))].page, run)


@routes.get("/compare/report")
def compared(request: Request, console: TheConsole) -> Response:
    query = request.query_params
    words = {key: query[key] for key in ("by", "margin", "allow") if key in query}
    comparison = console.compared(query.getlist("task"), **words)
    if comparison.page is None:
        raise Conflict("; ".join(comparison.left_out))
    return _framed(comparison.page.encode())


def _framed(page: bytes) -> Response:
    # The report's own policy allows exactly its own script; ours is added.
    content = page.replace(b"script-src ", _ALLOWED, 1)
    return HTMLResponse(content + IN_A_FRAME, headers=_SANDBOX)
