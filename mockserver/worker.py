"""One process of the mock: its configuration, requests and counters, and its queries to other workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from mockserver.clock import now_ns, utc_seconds
from mockserver.config import MockConfig
from mockserver.dialect import openai
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.pooling import PoolingEndpoint
from mockserver.errors import UsageError
from mockserver.expect.background import ExpectationCache
from mockserver.generation import Generation
from mockserver.intake import Intake
from mockserver.plain.head import PlainHeads
from mockserver.plain.requests import ENDPOINTS as PLAIN_ENDPOINTS
from mockserver.plain.requests import PlainRequests
from mockserver.pooling import Pooling
from mockserver.record.ledger import Ledger
from mockserver.record.ledger_file import LedgerFile
from mockserver.record.metrics import ServerMetrics, render
from mockserver.replies.sender import StreamSender
from mockserver.replies.wire import Connection
from mockserver.settings import Settings
from mockserver.workers.peers import Peers, sum_counts
from mockserver.workers.shared_state import SharedState
from promptset.errors import SpecError
from promptset.tokens import Tokenizer, load_tokenizer


class RequestHandler:
    """Handles the requests of one process."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._generation = Generation(intake)
        self._pooling = Pooling(intake)
        self.plain = PlainRequests(intake, self._generation)

    async def generate(self, request: Request, endpoint: Endpoint, handled_ns: int) -> Response:
        serve = partial(self._generation.serve, endpoint)
        return await self._intake.handle(request, handled_ns, serve, endpoint.refused)

    async def pool(self, request: Request, endpoint: PoolingEndpoint, handled_ns: int) -> Response:
        return await self._intake.handle(request, handled_ns, partial(self._pooling.serve, endpoint))


Result = TypeVar("Result")


class Worker:
    """The services of one process. Create it inside a running event loop, and close it."""

    def __init__(
        self,
        config: MockConfig,
        tokenizer: Tokenizer,
        ledger_file: LedgerFile,
        shared: SharedState,
        peers: Peers,
        replica: int | None = None,
    ) -> None:
        """`replica` is the number of the replica, with --replicas. Raises UsageError if the tokenizer cannot generate
        text."""
        self._peers = peers
        self.settings = Settings(config, shared, now_ns())
        self.tokenizer = tokenizer
        self.shared = shared
        self.started = utc_seconds()
        self.ledger = Ledger(ledger_file, lambda entry: self.metrics.add(entry), replica)  # noqa: PLW0108 (made below)
        self._intake = Intake(config, self.settings, tokenizer, shared, self.ledger)
        self._handler = RequestHandler(self._intake)
        self.metrics = self._new_metrics()
        self.expectations = ExpectationCache()
        self.heads = PlainHeads()
        """Parses the heads of ordinary requests."""

    @property
    def config(self) -> MockConfig:
        return self.settings.current.config

    @property
    def running(self) -> int:
        return self._intake.in_flight

    @property
    def sender(self) -> StreamSender | None:
        """The thread that sends ordinary streams. None if the event loop sends them."""
        return self._intake.sender

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self._intake.draining

    def drain(self) -> None:
        """Start shutting down: requests in flight finish, new requests are refused."""
        self._intake.draining = True

    def sync(self) -> None:
        """Apply changes that this or another worker has published. Call it before each response."""
        if self.settings.sync():
            self._intake.reset_counters()
            self.ledger.flush()
            self.metrics = self._new_metrics()

    def _new_metrics(self) -> ServerMetrics:
        # If plans determine all times, N workers act as one engine. Otherwise each worker has its own queue.
        engine = "0" if self._intake.plans_decide else str(self._peers.number)
        return ServerMetrics(self.config.models[0], self.config.max_model_len, self._intake.engine.state, engine)

    async def start(self) -> None:
        await self._peers.serve({"settle": self._settle, "metrics": self._own_metrics, "counts": self._own_counts})

    async def close(self) -> None:
        """Flush the ledger and release all resources."""
        await self._peers.close()
        await self.expectations.close()
        await self._intake.close()
        self.ledger.close()

    async def settle(self) -> None:
        """Wait until every response that has ended, at any worker, is in the ledger. Raises PeerError."""
        await self._peers.ask("settle")
        await self._settle()

    async def _settle(self) -> bytes:
        await self._intake.settle()
        self.ledger.flush()
        return b""

    async def all_metrics(self) -> bytes:
        """The metrics of all workers in Prometheus' text format. Raises PeerError."""
        return render([await self._own_metrics(), *await self._peers.ask("metrics")])

    async def _own_metrics(self) -> bytes:
        self.sync()
        self.ledger.flush()
        return self.metrics.samples()

    async def all_counts(self) -> dict[str, dict[str, Any]]:
        """The counters of all workers, for `/truth`. Raises PeerError."""
        answers = [await self._own_counts(), *await self._peers.ask("counts")]
        return sum_counts([orjson.loads(answer) for answer in answers])

    async def _own_counts(self) -> bytes:
        self.sync()
        return orjson.dumps(
            {
                "arrival_clock": self._intake.clocks,
                "plans_keyed_by": self._intake.arrivals.counts(),
                "ledger": self.ledger.state(),
            }
        )

    async def check_length(self, text: str) -> None:
        """Raises Refusal if the text does not fit into the context."""
        limit = self.config.max_model_len
        await self._intake.check_characters(text, limit)
        if len(text) > limit:
            count = self._intake.counter.count_text(text, False, limit)
            if (await count.wait() or 0) > limit:
                raise openai.context_refusal(limit, count.tokens or 0, 0, count.at_least)

    def release_memory_soon(self) -> None:
        """Give the memory of a large body back to the system."""
        self._intake.counter.release_memory_soon()

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run work on the thread that counts tokens. It yields to the streams."""
        return await self._intake.counter.in_thread(work)

    async def generate(self, request: Request, endpoint: Endpoint) -> Response:
        handled_ns = now_ns()
        self.sync()
        return await self._handler.generate(request, endpoint, handled_ns)

    def serve_plain(self, path: bytes, body: bytes, request_id: str | None, connection: Connection) -> bool:
        """Serve an ordinary streamed request without the application. Returns False if the application must handle it."""
        endpoint = PLAIN_ENDPOINTS.get(path)
        if endpoint is None:
            return False
        handled_ns = now_ns()
        self.sync()
        return self._handler.plain.serve(endpoint, body, request_id, connection, handled_ns)

    async def pool(self, request: Request, endpoint: PoolingEndpoint) -> Response:
        """Handle a request for embeddings or scores."""
        handled_ns = now_ns()
        self.sync()
        return await self._handler.pool(request, endpoint, handled_ns)


def load_text_tokenizer(config: MockConfig) -> Tokenizer:
    """The configured tokenizer. Raises UsageError."""
    try:
        return load_tokenizer(config.tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {problem}" for problem in e.problems]) from e
