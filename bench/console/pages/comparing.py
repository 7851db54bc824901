"""The page that compares tasks."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bench.console.comparing import changes, differing_settings, in_order
from bench.console.errors import ConsoleError
from bench.console.kinds import KINDS
from bench.console.pages.site import Site, TheSite
from bench.console.task import Task, headlines

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
        tested=changes(comparison.document) if comparison is not None else {},
        others=_others(site, tasks),
        problem=problem,
    )


def _others(site: Site, tasks: Sequence[Task]) -> list[Task]:
    """The tasks that a single task can be compared with."""
    if len(tasks) != 1:
        return []
    return [task for task in site.console.tasks() if task.has_report and task.kind in KINDS and task.id != tasks[0].id]
