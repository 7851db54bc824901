"""/admin: read and change latencies, lengths and faults while the mock serves.

    GET   /admin/config   the current configuration, its version, and the fields that can change
    PATCH /admin/config   change some of these fields: a JSON object, written as in the YAML file (POST does the same)
    POST  /admin/reset    start afresh: configuration, counters, remembered ids; the ledger continues

An invalid change is refused as a whole. The answer lists every problem.
"""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockserver.clock import now_ns
from mockserver.dialect import refusals
from mockserver.dialect.access import require_admin
from mockserver.dialect.body import read_body
from mockserver.errors import UsageError
from mockserver.http.routes import JSON, route
from mockserver.worker import Worker

_MAX_BODY_MB = 1.0


def routes_of_admin() -> list[Route]:
    """The routes."""
    config = "/admin/config"
    changes = [route(method, config, _change) for method in ("PATCH", "POST")]
    return [route("GET", config, _show), *changes, route("POST", "/admin/reset", _reset)]


async def _show(request: Request) -> Response:
    worker = _admitted(request)
    await worker.settle()
    return _state(worker)


async def _change(request: Request) -> Response:
    worker = _admitted(request)
    try:
        values = orjson.loads(await read_body(request, _MAX_BODY_MB))
    except orjson.JSONDecodeError as e:
        refusals.refuse(f"The request body is not valid JSON: {e}")
    if not isinstance(values, dict):
        refusals.refuse('The body must be a JSON object of the fields to change, for example {"ttft": "200ms"}.')
    await worker.settle()
    try:
        worker.settings.change(values, now_ns(), worker.ledger.lines)
    except UsageError as e:
        refusals.refuse("\n".join(e.problems))
    worker.sync()
    return _state(worker)


async def _reset(request: Request) -> Response:
    worker = _admitted(request)
    await worker.settle()
    worker.settings.restart(now_ns(), worker.ledger.lines)
    worker.sync()
    return _state(worker)


def _admitted(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    worker.sync()
    require_admin(request, worker.config)
    return worker


def _state(worker: Worker) -> Response:
    now = worker.settings.current
    body = {**now.to_json(), "ledger_lines": worker.ledger.lines, "all": now.config.model_dump(mode="json")}
    return Response(orjson.dumps(body), media_type=JSON)
