"""The pages: rendered on the server, usable without JavaScript. Each form posts to one route, which does one operation."""

from __future__ import annotations

from fastapi import APIRouter

from bench.console.pages import about_api, comparing, data, new_task, reports, targets, task, tasks

PAGES = (tasks, task, reports, comparing, new_task, targets, data, about_api)

router = APIRouter(include_in_schema=False)
for page in PAGES:
    router.include_router(page.routes)
