"""The FastAPI application: the routes, each a line or two over `Serving`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import orjson
from fastapi import FastAPI, Query, Request, Response

from mockserver.config import MockConfig
from mockserver.dialect import openai
from mockserver.dialect.access import require_key
from mockserver.dialect.cors import Cors
from mockserver.dialect.openai import SHAPES, Refusal
from mockserver.expect import Asked
from mockserver.http.admin import add_admin
from mockserver.http.tokenization import add_tokenization
from mockserver.http.truth import truth_of
from mockserver.plans.latencies import latencies_of
from mockserver.record import metrics
from mockserver.record.ledger_file import LedgerFile, open_file
from mockserver.worker import Serving, load_text_tokenizer
from mockserver.workers.peers import PeerError, Peers
from mockserver.workers.shared_state import SharedState
from promptset.tokens import Tokenizer

_JSON = "application/json"
_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Means:
    """What a mock serves with, made before it runs; the workers of one mock share it."""

    tokenizer: Tokenizer
    ledger_file: LedgerFile
    shared: SharedState


def make_means(config: MockConfig) -> Means:
    """Raises UsageError where the tokenizer, the recording to replay or the ledger cannot be had."""
    tokenizer = load_text_tokenizer(config)
    latencies_of(config)
    return Means(tokenizer, LedgerFile(open_file(config.ledger), shared=config.workers > 1), SharedState())


def create_app(config: MockConfig, means: Means | None = None, peers: Peers | None = None) -> FastAPI:
    """The application for a configuration; it runs between the start and the end of its lifespan.

    Raises UsageError where the tokenizer, the recording to replay or the ledger cannot be had.
    """
    with_ = make_means(config) if means is None else means

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving = Serving(config, with_.tokenizer, with_.ledger_file, with_.shared, peers or Peers())
        app.state.serving = serving
        await serving.start()
        try:
            yield
        finally:
            await serving.close()
            with_.shared.close()

    app = FastAPI(title="mockserver", lifespan=lifespan, openapi_url=None)
    _add_generation(app)
    _add_facts(app)
    add_tokenization(app)
    add_admin(app)
    if config.cors:
        app.add_middleware(Cors, allowed=config.cors)
    return app


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    serving.sync()
    return serving


def _add_generation(app: FastAPI) -> None:
    async def generate(request: Request, *, path: str) -> Response:
        return await _serving(request).answer(request, SHAPES[path])

    async def embed(request: Request) -> Response:
        return await _serving(request).embed(request)

    app.add_route("/v1/embeddings", embed, methods=["POST"])
    for path in SHAPES:
        # Starlette's plain route: FastAPI's own would solve dependencies, of which there are none, for each request.
        app.add_route(path, partial(generate, path=path), methods=["POST"])


def _add_facts(app: FastAPI) -> None:
    @app.exception_handler(PeerError)
    async def incomplete(request: Request, error: PeerError) -> Response:
        return Response(openai.error_body(503, f"{error}."), 503, media_type=_JSON)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        return Response(refusal.body, refusal.status, dict(refusal.headers), _JSON)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        serving = _serving(request)
        require_key(request, serving.config)
        config = serving.config
        return Response(openai.models_body(config.model, serving.started, config.max_model_len), media_type=_JSON)

    @app.get("/health")
    async def health(request: Request) -> Response:
        return Response(status_code=503 if _serving(request).draining else 200)

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": importlib.metadata.version("trueload")}

    @app.get("/metrics")
    async def show_metrics(request: Request) -> Response:
        return Response(await _serving(request).all_metrics(), media_type=metrics.CONTENT_TYPE)

    @app.get("/ledger")
    async def ledger(request: Request, since: int = Query(0, ge=0)) -> Response:
        await _serving(request).settle()
        lines = _serving(request).ledger
        return Response(lines.read(since), headers={"x-ledger-lines": str(lines.lines)}, media_type=_LINES)

    @app.get("/truth")
    async def truth(
        request: Request, output_tokens: int | None = Query(None, ge=1), input_tokens: int | None = Query(None, ge=0)
    ) -> Response:
        serving = _serving(request)
        expectation = await serving.expectations.of(serving.config, Asked(output_tokens, input_tokens))
        counts = await serving.all_counts()
        return Response(orjson.dumps(truth_of(serving, expectation, counts)), media_type=_JSON)
