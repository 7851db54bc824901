"""The JSON API, which can do everything the pages can. /openapi.json describes it; docs/console.md has curl examples."""

from __future__ import annotations

from fastapi import APIRouter

from bench.console.api import data, results, targets, tasks

router = APIRouter(prefix="/api")
router.include_router(tasks.routes)
router.include_router(results.routes)
router.include_router(targets.routes)
router.include_router(data.routes)
