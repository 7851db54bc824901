"""The FastAPI application. Each route is a line or two that calls `Worker`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import orjson
from fastapi import FastAPI, Query, Request, Response

from mockserver.config import MockConfig
from mockserver.dialect import openai, refusals
from mockserver.dialect.access import require_key, require_trusted_page
from mockserver.dialect.cors import Cors
from mockserver.dialect.endpoints import ENDPOINTS, POOLING_ENDPOINTS
from mockserver.dialect.messages import KEY_HEADER
from mockserver.dialect.refusals import Refusal
from mockserver.expect import RequestLengths
from mockserver.http.admin import add_admin
from mockserver.http.stored_responses import add_responses
from mockserver.http.tokenization import add_tokenization
from mockserver.http.truth import truth_of
from mockserver.plans.latencies import latencies_of
from mockserver.record import metrics
from mockserver.record.ledger_file import LedgerFile, open_file
from mockserver.worker import Worker, load_text_tokenizer
from mockserver.workers.peers import PeerError, Peers
from mockserver.workers.response_store import ResponseStore
from mockserver.workers.shared_state import SharedState
from promptset.tokens import Tokenizer

_JSON = "application/json"
_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a mock creates before it serves. Its workers share it."""

    tokenizer: Tokenizer
    ledger_file: LedgerFile
    shared: SharedState


def make_resources(config: MockConfig) -> Resources:
    """Raises UsageError if the tokenizer, the recording to replay or the ledger cannot be opened."""
    tokenizer = load_text_tokenizer(config)
    latencies_of(config)
    ledger_file = LedgerFile(open_file(config.ledger), shared=config.workers > 1)
    responses = ResponseStore(config.stored_responses, round(config.stored_mb * 1_000_000))
    return Resources(tokenizer, ledger_file, SharedState(responses, config.workers == 1))


def create_app(config: MockConfig, resources: Resources | None = None, peers: Peers | None = None) -> FastAPI:
    """The application for a configuration. Its lifespan starts and stops it.

    Raises UsageError if the tokenizer, the recording to replay or the ledger cannot be opened.
    """
    own = make_resources(config) if resources is None else resources

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(config, own.tokenizer, own.ledger_file, own.shared, peers or Peers())
        app.state.worker = worker
        await worker.start()
        try:
            yield
        finally:
            await worker.close()
            own.shared.close()

    app = FastAPI(title="mockserver", lifespan=lifespan, openapi_url=None)
    _add_generation(app)
    _add_facts(app)
    add_responses(app)
    add_tokenization(app)
    add_admin(app)
    if config.cors:
        app.add_middleware(Cors, allowed=config.cors)
    return app


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    worker.sync()
    return worker


def _add_generation(app: FastAPI) -> None:
    async def generate(request: Request, *, path: str) -> Response:
        return await _worker(request).generate(request, ENDPOINTS[path])

    async def pool(request: Request, *, path: str) -> Response:
        return await _worker(request).pool(request, POOLING_ENDPOINTS[path])

    for path in POOLING_ENDPOINTS:
        app.add_route(path, partial(pool, path=path), methods=["POST"])
    for path in ENDPOINTS:
        # Starlette's plain route: FastAPI's own would look for dependencies, which do not exist, at each request.
        app.add_route(path, partial(generate, path=path), methods=["POST"])


def _add_facts(app: FastAPI) -> None:
    @app.exception_handler(PeerError)
    async def incomplete(request: Request, error: PeerError) -> Response:
        return Response(refusals.error_body(503, f"{error}."), 503, media_type=_JSON)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        return Response(refusal.body, refusal.status, dict(refusal.headers), _JSON)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        worker = _worker(request)
        require_key(request, worker.config, KEY_HEADER)
        config = worker.config
        return Response(openai.models_body(config.models, worker.started, config.max_model_len), media_type=_JSON)

    @app.get("/v1/models/{model:path}")
    async def one_model(request: Request, model: str) -> Response:
        worker = _worker(request)
        require_key(request, worker.config, KEY_HEADER)
        config = worker.config
        body = openai.model_body(model, config.models, worker.started, config.max_model_len)
        return Response(body, media_type=_JSON)

    @app.get("/health")
    async def health(request: Request) -> Response:
        return Response(status_code=503 if _worker(request).draining else 200)

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": importlib.metadata.version("trueload")}

    @app.get("/metrics")
    async def show_metrics(request: Request) -> Response:
        return Response(await _worker(request).all_metrics(), media_type=metrics.CONTENT_TYPE)

    @app.get("/ledger")
    async def ledger(request: Request, since: int = Query(0, ge=0)) -> Response:
        require_trusted_page(request, _worker(request).config)
        await _worker(request).settle()
        lines = _worker(request).ledger
        return Response(lines.read(since), headers={"x-ledger-lines": str(lines.lines)}, media_type=_LINES)

    @app.get("/truth")
    async def truth(
        request: Request, output_tokens: int | None = Query(None, ge=1), input_tokens: int | None = Query(None, ge=0)
    ) -> Response:
        worker = _worker(request)
        require_trusted_page(request, worker.config)
        expected = await worker.expectations.of(worker.config, RequestLengths(output_tokens, input_tokens))
        counts = await worker.all_counts()
        return Response(orjson.dumps(truth_of(worker, expected, counts)), media_type=_JSON)
