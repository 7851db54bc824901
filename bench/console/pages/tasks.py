"""The list of tasks, and the order of the queue."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from bench.console.load_templates import TEMPLATES
from bench.console.pages.site import Fields, TheSite, back
from bench.console.task import STATES, selected

SHOWN_AT_ONCE = 200
"""Rows of the list; the others come with a click."""

routes = APIRouter()


@routes.get("/")
def home(request: Request, site: TheSite) -> HTMLResponse:
    query, tasks = request.query_params, site.console.tasks()
    chosen = selected(tasks, query.get("state"), query.get("label"), query.get("search", ""))
    shown = chosen if "all" in query else chosen[:SHOWN_AT_ONCE]
    return site.page(
        "tasks",
        tasks=shown,
        total=len(tasks),
        left=len(chosen) - len(shown),
        states=[state for state in STATES if any(task.state == state for task in tasks)],
        labels=sorted({task.marks.label for task in tasks if task.marks.label}),
        query=query,
        order=list(site.console.runner.queue),
        templates=TEMPLATES,
        targets=site.console.targets(),
    )


@routes.post("/queue")
def reorder(fields: Fields, site: TheSite) -> Response:
    for key, places in (("earlier", -1), ("later", 1)):
        if name := fields.get(key):
            site.console.move(name, places)
    return back("/")
