"""GET and DELETE /v1/responses/{id}: the responses that requests can continue."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockserver.dialect import refusals
from mockserver.dialect.access import require_key
from mockserver.http.routes import JSON, route
from mockserver.worker import Worker


def routes_of_responses() -> list[Route]:
    """The routes."""
    path = "/v1/responses/{response_id}"
    return [route("GET", path, _show), route("DELETE", path, _remove)]


async def _show(request: Request) -> Response:
    response_id = request.path_params["response_id"]
    found = _admitted(request).shared.responses.get(response_id)
    if found is None:
        raise refusals.lost_response(response_id, "vllm")
    return Response(found.body, media_type=JSON)


async def _remove(request: Request) -> Response:
    response_id = request.path_params["response_id"]
    if not _admitted(request).shared.responses.remove(response_id):
        raise refusals.lost_response(response_id, "vllm")
    body = {"id": response_id, "object": "response", "deleted": True}
    return Response(orjson.dumps(body), media_type=JSON)


def _admitted(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    worker.sync()
    require_key(request, worker.config)
    return worker
