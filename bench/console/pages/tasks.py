"""The list of tasks: running and waiting tasks in queue order, above finished ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bench.console.kinds import KINDS
from bench.console.load_templates import TEMPLATES
from bench.console.pages.site import TheSite
from bench.console.task import QUEUED, STATES, Task, selected

SHOWN_AT_ONCE = 200
"""Rows on one page of the list: browsers take minutes to show thousands."""

routes = APIRouter()


@routes.get("/")
def home(request: Request, site: TheSite) -> HTMLResponse:
    query, mark = request.query_params, site.console.queue.mark()
    # A page that follows moving tasks requests only their rows: rereading thousands of tasks takes 0.2 s of CPU time.
    tasks = site.console.tasks(only=query.getlist("only")[:SHOWN_AT_ONCE])
    order = list(site.console.runner.queue)
    chosen = selected(tasks, query.get("state"), query.get("label"), query.get("search", ""))
    going_on, rest = in_turn(chosen, order)
    pages = max(1, math.ceil(len(rest) / SHOWN_AT_ONCE))
    asked = query.get("page", "")[:9]
    number = min(pages, max(1, int(asked))) if asked.isdecimal() else 1
    first = (number - 1) * SHOWN_AT_ONCE
    shown = rest[first : first + SHOWN_AT_ONCE]
    return site.page(
        "tasks",
        going_on=going_on if number == 1 else [],
        tasks=shown,
        total=len(tasks),
        part=(first + 1, first + len(shown), len(rest)),
        newer=_address(query, number - 1) if number > 1 else None,
        older=_address(query, number + 1) if number < pages else None,
        states=[state for state in STATES if any(task.state == state for task in tasks)],
        labels=sorted({task.marks.label for task in tasks if task.marks.label}),
        baseline=next((task.id for task in tasks if task.marks.baseline), None),
        query=query,
        mark=mark,
        order=order,
        templates=TEMPLATES,
        kinds=KINDS,
        targets=site.console.targets(),
    )


def _address(query: Mapping[str, str], page: int) -> str:
    """The address of a page of the list, with its filters."""
    filters = {name: query[name] for name in ("search", "state", "label") if query.get(name)}
    return f"/?{urlencode({**filters, 'page': page})}"


def in_turn(tasks: Sequence[Task], order: Sequence[str]) -> tuple[list[Task], list[Task]]:
    """Order tasks: running ones, then waiting ones in queue order. The others keep their order."""
    places = {name: place for place, name in enumerate(order)}
    going_on = [task for task in tasks if task.active or task.state == QUEUED]
    rest = [task for task in tasks if not task.active and task.state != QUEUED]
    return sorted(going_on, key=lambda task: (not task.active, places.get(task.id, len(places)))), rest
