"""Targets, and the built-in mock."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from bench.console.access import TheConsole
from bench.console.api.bodies import MockFlags, NewTarget

routes = APIRouter()


@routes.get("/targets", summary="The saved targets, and the running mock")
def targets(console: TheConsole) -> list[dict[str, Any]]:
    return [asdict(target) for target in console.targets()]


@routes.post("/targets", status_code=201, summary="Save a target")
def save(console: TheConsole, target: NewTarget) -> dict[str, Any]:
    return asdict(console.save_target(target.model_dump()))


@routes.delete("/targets/{name}", status_code=204, summary="Forget a target")
def forget(console: TheConsole, name: str) -> Response:
    console.remove_target(name)
    return Response(status_code=204)


@routes.post("/targets/{name}/probe", summary="Ask a target for one short reply")
def probe(console: TheConsole, name: str) -> dict[str, str]:
    return {"says": console.probe({}, {}, console.target(name))}


@routes.get("/mock", summary="Whether the built-in mock runs, and where")
def mock(console: TheConsole) -> dict[str, str | None]:
    return {"url": console.mock.url, "flags": console.mock.flags}


@routes.post("/mock/start", summary="Start the built-in mock")
def mock_start(console: TheConsole, given: MockFlags | None = None) -> dict[str, str]:
    return {"url": console.mock.start((given or MockFlags()).flags)}


@routes.post("/mock/stop", status_code=204, summary="Stop the built-in mock")
def mock_stop(console: TheConsole) -> Response:
    console.mock.stop()
    return Response(status_code=204)
