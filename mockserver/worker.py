"""All that runs in one process of the mock: what is in force, who answers, what is counted, and the other workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from mockserver.clock import now_ns, utc_seconds
from mockserver.config import MockConfig
from mockserver.dialect.openai import Shape
from mockserver.errors import UsageError
from mockserver.expect.background import Expectations
from mockserver.handler import Answering
from mockserver.record.ledger import Ledger
from mockserver.record.ledger_file import LedgerFile
from mockserver.record.metrics import ServerMetrics, render
from mockserver.settings import Settings
from mockserver.workers.peers import Peers, added_up
from mockserver.workers.shared_state import SharedState
from promptset.errors import SpecError
from promptset.tokens import Tokenizer, load_tokenizer

Answered = TypeVar("Answered")


class Serving:
    """All that runs: make it inside a running event loop, and close it."""

    def __init__(
        self, config: MockConfig, tokenizer: Tokenizer, ledger_file: LedgerFile, shared: SharedState, peers: Peers
    ) -> None:
        """Raises UsageError where the tokenizer cannot make text."""
        self._peers = peers
        self.settings = Settings(config, shared, now_ns())
        self.tokenizer = tokenizer
        self.shared = shared
        self.started = utc_seconds()
        self.ledger = Ledger(ledger_file, lambda entry: self.metrics.add(entry))
        self._answering = Answering(config, self.settings, tokenizer, shared, self.ledger)
        self.metrics = self._new_metrics()
        self.expectations = Expectations()

    @property
    def config(self) -> MockConfig:
        """The configuration in force."""
        return self.settings.now.config

    @property
    def running(self) -> int:
        """Requests that have reached the engine and are not over."""
        state = self._answering.engine.state()
        return state.running + state.waiting

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self._answering.draining

    def drain(self) -> None:
        """The mock is to end: what is in flight may go on, new requests are refused."""
        self._answering.draining = True

    def sync(self) -> None:
        """Put in force what was changed since, by this process or another: called before anything is answered."""
        if self.settings.sync():
            self._answering.begin_anew()
            self.ledger.flush()
            self.metrics = self._new_metrics()

    def _new_metrics(self) -> ServerMetrics:
        # Where plans decide, N workers are one engine as good as another; else each has a queue of its own.
        engine = "0" if self._answering.plans_decide else str(self._peers.number)
        return ServerMetrics(self.config.model, self.config.max_model_len, self._answering.engine.state, engine)

    async def start(self) -> None:
        """Begin to answer the other workers."""
        await self._peers.serve({"settle": self._settle, "metrics": self._own_metrics, "counts": self._own_counts})

    async def close(self) -> None:
        """Write the ledger to its end and give everything back."""
        await self._peers.close()
        await self.expectations.close()
        await self._answering.close()
        self.ledger.close()

    async def settle(self) -> None:
        """Wait until every response that has ended, at any worker, is in the ledger. Raises PeerError."""
        await self._peers.ask("settle")
        await self._settle()

    async def _settle(self) -> bytes:
        await self._answering.counter.idle()
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
        """What all workers have counted, for `/truth`. Raises PeerError."""
        return added_up(
            [orjson.loads(of_one) for of_one in [await self._own_counts(), *await self._peers.ask("counts")]]
        )

    async def _own_counts(self) -> bytes:
        self.sync()
        return orjson.dumps(
            {
                "arrival_clock": self._answering.clocks,
                "plans_keyed_by": self._answering.arrivals.counts(),
                "ledger": self.ledger.state(),
            }
        )

    async def beside(self, work: Callable[[], Answered]) -> Answered:
        """Do some work on the thread that counts tokens, which gives way to the streams."""
        return await self._answering.counter.beside(work)

    async def answer(self, request: Request, shape: Shape) -> Response:
        """Answer one request of an endpoint that generates text."""
        handled_ns = now_ns()
        self.sync()
        return await self._answering.answer(request, shape, handled_ns)

    async def embed(self, request: Request) -> Response:
        """Answer one request for embeddings."""
        handled_ns = now_ns()
        self.sync()
        return await self._answering.embed(request, handled_ns)


def load_text_tokenizer(config: MockConfig) -> Tokenizer:
    """The configured tokenizer. Raises UsageError."""
    try:
        return load_tokenizer(config.tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {problem}" for problem in e.problems]) from e
