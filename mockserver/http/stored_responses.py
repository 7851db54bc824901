"""GET and DELETE /v1/responses/{id}: the responses that requests can continue."""

from __future__ import annotations

import orjson
from fastapi import FastAPI, Request, Response

from mockserver.dialect import refusals
from mockserver.dialect.access import require_key
from mockserver.worker import Worker

_JSON = "application/json"


def add_responses(app: FastAPI) -> None:
    """Add the routes."""

    @app.get("/v1/responses/{response_id}")
    async def show(request: Request, response_id: str) -> Response:
        found = _admitted(request).shared.responses.get(response_id)
        if found is None:
            raise refusals.lost_response(response_id, "vllm")
        return Response(found.body, media_type=_JSON)

    @app.delete("/v1/responses/{response_id}")
    async def remove(request: Request, response_id: str) -> Response:
        if not _admitted(request).shared.responses.remove(response_id):
            raise refusals.lost_response(response_id, "vllm")
        body = {"id": response_id, "object": "response", "deleted": True}
        return Response(orjson.dumps(body), media_type=_JSON)


def _admitted(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    worker.sync()
    require_key(request, worker.config)
    return worker
