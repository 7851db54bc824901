"""The API: everything that the pages do, as JSON. /openapi.json describes it, docs/console.md shows it with curl."""

from __future__ import annotations

from fastapi import APIRouter

from bench.console.api import data, results, targets, tasks

router = APIRouter(prefix="/api")
router.include_router(tasks.routes)
router.include_router(results.routes)
router.include_router(targets.routes)
router.include_router(data.routes)
