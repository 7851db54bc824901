"""The FastAPI application: the routes, each a line or two over `Serving`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import orjson
from fastapi import FastAPI, Query, Request, Response

from mockserver import metrics, openai
from mockserver.access import require_key
from mockserver.admin import add_admin
from mockserver.config import MockConfig
from mockserver.cors import Cors
from mockserver.expect import Asked
from mockserver.latencies import latencies_of
from mockserver.ledger_file import LedgerFile, open_file
from mockserver.openai import SHAPES, Refusal
from mockserver.serving import Serving, load_text_tokenizer
from mockserver.shared_state import SharedState
from mockserver.tokenization import add_tokenization
from mockserver.truth import expected, truth_of

_JSON = "application/json"
_LINES = "application/x-ndjson"


def create_app(config: MockConfig) -> FastAPI:
    """The application for a configuration; it runs between the start and the end of its lifespan.

    Raises UsageError where the tokenizer, the recording to replay or the ledger cannot be had.
    """
    tokenizer = load_text_tokenizer(config)
    latencies_of(config)
    ledger_file = LedgerFile(open_file(config.ledger))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        shared = SharedState()
        app.state.serving = Serving(config, tokenizer, ledger_file, shared)
        try:
            yield
        finally:
            await app.state.serving.close()
            shared.close()

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
        return Response(_serving(request).metrics.render(), media_type=metrics.CONTENT_TYPE)

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
        expectation = await serving.beside(partial(expected, serving.config, Asked(output_tokens, input_tokens)))
        return Response(orjson.dumps(truth_of(serving, expectation)), media_type=_JSON)
