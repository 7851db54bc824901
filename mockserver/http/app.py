"""The application. Each route is a line or two that calls `Worker`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mockserver import clock
from mockserver.config import MockConfig
from mockserver.dialect import any_service, openai, refusals
from mockserver.dialect.access import require_key, require_trusted_page
from mockserver.dialect.cors import Cors
from mockserver.dialect.endpoints import ENDPOINTS, POOLING_ENDPOINTS
from mockserver.dialect.messages import KEY_HEADER
from mockserver.dialect.refusals import Refusal
from mockserver.expect import RequestLengths
from mockserver.http.admin import routes_of_admin
from mockserver.http.routes import JSON, numbers_of_query, refused_by_router, route
from mockserver.http.tokenization import routes_of_tokenization
from mockserver.plans.latencies import latencies_of
from mockserver.record import metrics
from mockserver.record.ledger_file import LedgerFile, open_file
from mockserver.worker import Worker, load_text_tokenizer
from mockserver.workers.peers import PeerError, Peers
from mockserver.workers.response_store import ResponseStore
from mockserver.workers.shared_state import SharedState
from promptset.tokens import Tokenizer

_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that a mock creates before it serves. All its workers share them."""

    tokenizer: Tokenizer
    ledger_file: LedgerFile
    shared: SharedState


def make_resources(config: MockConfig, ledger_file: LedgerFile | None = None) -> Resources:
    """`ledger_file` is shared with other servers, if there are several.

    Raises UsageError if the tokenizer, the recording to replay or the ledger cannot be opened.
    """
    tokenizer = load_text_tokenizer(config)
    latencies_of(config)
    if ledger_file is None:
        ledger_file = LedgerFile(open_file(config.ledger), shared=config.workers > 1)
    responses = ResponseStore(config.stored_responses, round(config.stored_mb * 1_000_000))
    return Resources(tokenizer, ledger_file, SharedState(responses, config.workers == 1))


def create_app(
    config: MockConfig, resources: Resources | None = None, peers: Peers | None = None, replica: int | None = None
) -> Starlette:
    """The application for a configuration, or for one of --replicas. Its lifespan starts and stops it.

    Raises UsageError if the tokenizer, the recording to replay or the ledger cannot be opened.
    """
    own = make_resources(config) if resources is None else resources

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        worker = Worker(config, own.tokenizer, own.ledger_file, own.shared, peers or Peers(), replica)
        app.state.worker = worker
        await worker.start()
        try:
            yield
        finally:
            await worker.close()
            own.shared.close()

    routes = [
        *_routes_of_generation(), *_routes_of_facts(), *routes_of_responses(), *routes_of_tokenization(),
        *routes_of_admin(),
    ]  # fmt: skip
    refusing = {
        PeerError: _incomplete, Refusal: _refused, HTTPException: refused_by_router, ClientDisconnect: _left,
    }  # fmt: skip
    app = Starlette(routes=routes, exception_handlers=refusing, lifespan=lifespan)
    if config.cors:
        app.add_middleware(Cors, allowed=config.cors)
    return app


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    worker.sync()
    return worker


def _routes_of_generation() -> list[Route]:
    async def generate(request: Request, *, path: str) -> Response:
        return await _worker(request).generate(request, ENDPOINTS[path])

    async def pool(request: Request, *, path: str) -> Response:
        return await _worker(request).pool(request, POOLING_ENDPOINTS[path])

    async def answer(request: Request) -> Response:
        return await _worker(request).generate(request, any_service.endpoint_of(request.method))

    return [
        *(route(method, path, answer) for path in any_service.PATHS for method in any_service.METHODS),
        *(route("POST", path, partial(pool, path=path)) for path in POOLING_ENDPOINTS),
        *(route("POST", path, partial(generate, path=path)) for path in ENDPOINTS),
    ]


async def _incomplete(request: Request, error: Exception) -> Response:
    return Response(refusals.error_body(503, f"{error}."), 503, media_type=JSON)


async def _left(request: Request, error: Exception) -> Response:
    """The body did not arrive. Nobody reads this response."""
    return Response(status_code=400)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return Response(refusal.body, refusal.status, dict(refusal.headers), JSON)


def _routes_of_facts() -> list[Route]:
    handlers = {
        "/v1/models": _models, "/v1/models/{model:path}": _one_model, "/health": _health, "/version": _version,
        "/metrics": _metrics, "/ledger": _ledger, "/truth": _truth,
    }  # fmt: skip
    return [route("GET", path, handler) for path, handler in handlers.items()]


async def _models(request: Request) -> Response:
    worker = _worker(request)
    require_key(request, worker.config, KEY_HEADER)
    config = worker.config
    return Response(openai.models_body(config.models, worker.started, config.max_model_len), media_type=JSON)


async def _one_model(request: Request) -> Response:
    worker = _worker(request)
    require_key(request, worker.config, KEY_HEADER)
    config = worker.config
    body = openai.model_body(request.path_params["model"], config.models, worker.started, config.max_model_len)
    return Response(body, media_type=JSON)


async def _health(request: Request) -> Response:
    return Response(status_code=503 if _worker(request).draining else 200)


async def _version(request: Request) -> Response:
    return Response(orjson.dumps({"version": importlib.metadata.version("trueload")}), media_type=JSON)


async def _metrics(request: Request) -> Response:
    return Response(await _worker(request).all_metrics(), media_type=metrics.CONTENT_TYPE)


async def _ledger(request: Request) -> Response:
    since = numbers_of_query(request, since=0)["since"]
    require_trusted_page(request, _worker(request).config)
    await _worker(request).settle()
    lines = _worker(request).ledger
    return Response(
        lines.read(0 if since is None else since), headers={"x-ledger-lines": str(lines.lines)}, media_type=_LINES
    )


async def _truth(request: Request) -> Response:
    asked = numbers_of_query(request, output_tokens=1, input_tokens=0)
    worker = _worker(request)
    require_trusted_page(request, worker.config)
    lengths = RequestLengths(asked["output_tokens"], asked["input_tokens"])
    expected = await worker.expectations.of(worker.config, lengths)
    await worker.settle()
    counts = await worker.all_counts()
    return Response(orjson.dumps(truth_of(worker, expected, counts)), media_type=JSON)


def truth_of(worker: Worker, expected: dict[str, Any], counts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The body of GET /truth. `expected` belongs to the current configuration; `counts` are the sums over all workers."""
    return {
        "config": worker.config.model_dump(mode="json"),
        "expected": expected,
        "configurations": worker.settings.history(),
        "clock": clock.identity(),
        **counts,
        "stored_responses": asdict(worker.shared.responses.state()),
        "sender": "python" if worker.sender is None else "compiled",
        "ledger_lines": worker.ledger.lines,
        "tokenizer": {"name": worker.tokenizer.name, "fingerprint": worker.tokenizer.fingerprint},
    }


def routes_of_responses() -> list[Route]:
    """The routes."""
    path = "/v1/responses/{response_id}"
    return [route("GET", path, _show), route("DELETE", path, _remove)]


async def _show(request: Request) -> Response:
    response_id = request.path_params["response_id"]
    stored = _admitted(request).shared.responses.get(response_id)
    if stored is None:
        raise refusals.lost_response(response_id, "vllm")
    return Response(stored.body, media_type=JSON)


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
