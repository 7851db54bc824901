"""/admin: read and change latencies, lengths and faults while the mock serves.

    GET   /admin/config   the configuration in force, its version, and what may change
    PATCH /admin/config   a JSON object of some of these fields, written as in the YAML file (POST does the same)
    POST  /admin/reset    as if just started: configuration, counters, remembered ids; the ledger goes on

A change that has a problem changes nothing, and every problem is told.
"""

from __future__ import annotations

import orjson
from fastapi import FastAPI, Request, Response

from mockserver.clock import now_ns
from mockserver.dialect import openai
from mockserver.dialect.access import require_admin
from mockserver.errors import UsageError
from mockserver.worker import Serving


def add_admin(app: FastAPI) -> None:
    """Add the routes."""

    @app.get("/admin/config")
    async def show(request: Request) -> Response:
        return _state(_admitted(request))

    async def change(request: Request) -> Response:
        serving = _admitted(request)
        try:
            values = orjson.loads(await request.body())
        except orjson.JSONDecodeError as e:
            openai.refuse(f"The request body is not valid JSON: {e}")
        if not isinstance(values, dict):
            openai.refuse('The body must be a JSON object of what is to change, for example {"ttft": "200ms"}.')
        await serving.settle()
        try:
            serving.settings.change(values, now_ns(), serving.ledger.lines)
        except UsageError as e:
            openai.refuse("\n".join(e.problems))
        serving.sync()
        return _state(serving)

    for method in ("PATCH", "POST"):
        app.add_api_route("/admin/config", change, methods=[method], name=f"change by {method}")

    @app.post("/admin/reset")
    async def reset(request: Request) -> Response:
        serving = _admitted(request)
        await serving.settle()
        serving.settings.restart(now_ns(), serving.ledger.lines)
        serving.sync()
        return _state(serving)


def _admitted(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    serving.sync()
    require_admin(request, serving.config)
    return serving


def _state(serving: Serving) -> Response:
    now = serving.settings.now
    body = {**now.facts(), "ledger_lines": serving.ledger.lines, "all": now.config.model_dump(mode="json")}
    return Response(orjson.dumps(body), media_type="application/json")
