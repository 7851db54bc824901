"""Tasks side by side."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bench.console.comparing import differing_settings, in_order
from bench.console.errors import ConsoleError
from bench.console.pages.site import TheSite, change
from bench.console.task import headlines

routes = APIRouter()


@routes.get("/compare")
def compare(request: Request, site: TheSite) -> HTMLResponse:
    query = request.query_params
    words = {"by": query.get("by", "task"), "margin": query.get("margin", ""), "allow": query.get("allow", "")}
    tasks = in_order(site.console.task(name) for name in dict.fromkeys(query.getlist("task")))
    comparison, problem = None, None
    try:
        if len(tasks) > 1:
            comparison = site.console.compared([task.id for task in tasks], **words)
    except ConsoleError as e:
        problem = str(e)
    return site.page(
        "compare",
        400 if problem else 200,
        tasks=tasks,
        headlines=headlines(tasks),
        differ=differing_settings(tasks),
        comparison=comparison,
        words=words,
        labels=sorted({task.marks.label for task in tasks if task.marks.label}),
        inner=urlencode([*(("task", task.id) for task in tasks), *((k, v) for k, v in words.items() if v)]),
        change=change,
        problem=problem,
    )
