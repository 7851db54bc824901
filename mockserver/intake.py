"""The path that every request for the model takes: it is identified, checked, subjected to faults, and recorded."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mockserver.combinations import NEEDS_DRAWN_LATENCIES
from mockserver.config import MockConfig
from mockserver.dialect import openai, refusals
from mockserver.dialect.access import require_key
from mockserver.dialect.body import MAX_BODY_FLAG, read_body
from mockserver.dialect.overrides import Overrides, read_overrides
from mockserver.dialect.refusals import Refusal
from mockserver.engine import ENGINES, EngineReport, EngineRequest, Work
from mockserver.engine.batching import BatchingEngine
from mockserver.entries import RequestContext, entry_of_refusal, entry_of_reply
from mockserver.errors import UsageError
from mockserver.faults import SCALING_FAULTS, ArrivalFacts, Fault
from mockserver.faults import fault as fault_of
from mockserver.pacing import Pacer, Stepper
from mockserver.plans.arrival import Arrivals
from mockserver.plans.plan import draw_faults
from mockserver.record.ledger import Ledger
from mockserver.replies.blocks import ReplyBlocks
from mockserver.replies.reply import Reply
from mockserver.replies.sender import stream_sender
from mockserver.replies.wire import Connection, Wire, wire_of
from mockserver.settings import ConfigVersion, Settings
from mockserver.steps.scaling import Scaling
from mockserver.tokencount import Counter, TokenCount
from mockserver.workers.shared_state import SharedState
from promptset.errors import SpecError
from promptset.text import TokenText
from promptset.tokens import Tokenizer

_DRAINING = "The server is shutting down and takes no new requests."
_SCALING = "The server scales from zero and has no replica yet."
Serve = Callable[[Request, bytes, RequestContext], Awaitable[None]]


class WireResponse(Response):
    """Lets Starlette wait for a response that is written on its wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wire.run(scope, receive, send)


class EngineKeys:
    """The choices of one request in the engine."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._keys: list[int] = []
        self._reports: dict[int, EngineReport] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def admit(self, work: EngineRequest, take: Callable[[int], None]) -> None:
        """Hand the next choice to the engine."""
        self._keys.append(self._stepper.admit(work, take))

    def follow(self, work: EngineRequest) -> None:
        """Admit the next choice; it follows its plan by itself."""
        self._keys.append(self._stepper.follow(work))

    def work(self) -> Work | None:
        """The engine's work so far. None for several choices: no single one represents the request."""
        return self._stepper.work(self._keys[0]) if len(self._keys) == 1 else None

    def release(self, choice: int, tokens: int) -> EngineReport:
        """End a choice after this many tokens. Only the first call counts."""
        report = self._reports.get(choice)
        if report is None:
            report = self._reports[choice] = self._stepper.release(self._keys[choice], tokens)
        return report


class Intake:
    """The services of one process that all requests share. Create it inside a running event loop, and close it."""

    def __init__(
        self, config: MockConfig, settings: Settings, tokenizer: Tokenizer, shared: SharedState, ledger: Ledger
    ) -> None:
        """`config` is the initial configuration: it chooses the engine. Raises UsageError if the tokenizer cannot
        generate text."""
        self.draining = False
        """The mock is shutting down: requests in flight finish, new requests are refused."""
        self.preparing = 0
        """Requests for text that have not reached the engine yet."""
        self.settings = settings
        self.tokenizer = tokenizer
        self.shared = shared
        self._ledger = ledger
        self.text = _token_text(tokenizer)
        self.pacer = Pacer()
        self.sender = stream_sender(self.pacer.shared_ns)
        self._scaling = None if config.scale is None else Scaling(config.scale)
        self.engine = ENGINES[config.engine](config)
        if self._scaling is not None and isinstance(self.engine, BatchingEngine):
            self.engine.replicas = self._scaling.replicas
        self.stepper = Stepper(self.engine, self.pacer)
        self.counter = Counter(tokenizer, self.engine.block_tokens, urgent=self.engine.needs_input_tokens)
        self.blocks = ReplyBlocks(tokenizer, self.engine.block_tokens)
        self._awaited: set[TokenCount] = set()
        """The token counts that entries of ended responses wait for."""
        self.reset_counters()

    def reset_counters(self) -> None:
        """Count arrivals from 0."""
        self.arrivals = Arrivals(self.shared)
        self.clocks = {"kernel": 0, "user": 0}

    @property
    def plans_decide(self) -> bool:
        """Whether a reply's times depend only on its plan, not on other requests in flight."""
        return self.stepper.plans_decide

    @property
    def in_flight(self) -> int:
        """Requests in the engine, and requests that will enter it once their prompt is counted and their reply is made."""
        state = self.engine.state()
        return state.running + state.waiting + self.preparing

    async def settle(self) -> None:
        """Wait until every response that has ended is in the ledger."""
        if self.sender is not None:
            self.sender.settle()
        for count in [*self._awaited]:
            await count.wait()

    async def close(self) -> None:
        """Finish the counts that the ledger waits for, and release all resources."""
        await self.counter.close()
        self.pacer.close()
        if self.sender is not None:
            self.sender.close()

    async def handle(
        self,
        request: Request,
        handled_ns: int,
        serve: Serve,
        refused: Callable[[Refusal], Refusal] = lambda refusal: refusal,
    ) -> Response:
        wire, connection = wire_of(request.scope)
        try:
            body, refusal = await self._read_body(request, connection)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody reads it, and the request never fully arrived.
        received_ns = handled_ns
        if connection is not None and connection.received_ns is not None:
            received_ns = connection.received_ns
            self.clocks[connection.clock] += 1
        else:
            self.clocks["user"] += 1
        arrival = self.arrivals.identify(request.headers.get("x-request-id"), request.headers.get("traceparent"))
        bytes_in = len(body) if connection is None or connection.bytes_in is None else connection.bytes_in
        context = RequestContext(arrival, received_ns, handled_ns, bytes_in, wire)
        if connection is not None:
            context.last = connection.last
            if connection.held_until_ns is not None:
                context.held_ns = max(0, connection.held_until_ns - received_ns)
        try:
            if refusal is not None:
                raise refusal
            await serve(request, body, context)
        except Refusal as e:
            self._refuse(context, refused(e))
        return WireResponse(wire)

    async def _read_body(self, request: Request, connection: Connection | None) -> tuple[bytes, Refusal | None]:
        try:
            return await read_body(request, self.settings.current.config.max_body_mb, MAX_BODY_FLAG), None
        except Refusal as e:
            if connection is None:
                return b"", e
            connection.close_after_response()  # The connection adds the header itself.
            return b"", refusals.refusal_of(e.status, e.message or "")

    def admit(
        self,
        request: Request,
        body: bytes,
        context: RequestContext,
        require_key: Callable[[Request, MockConfig], None] = require_key,
        *,
        reads_body: bool = True,
        decode: Callable[[Request, bytes], dict[str, Any]] | None = None,
    ) -> tuple[ConfigVersion, dict[str, Any]]:
        """The configuration version, which the request keeps to its end, and the body as JSON or as `decode` returns it
        (empty unless `reads_body`). Raises Refusal."""
        if self.draining:
            raise refusals.refusal_of(503, _DRAINING, headers=(("retry-after", "1"),))
        self._scale(context)
        version = self.settings.current
        context.version = version.number
        require_key(request, version.config)
        models = version.config.models
        row: dict[str, Any] = {}
        if decode is not None:
            row = openai.with_model(decode(request, body), *models)
        elif reads_body:
            row = openai.parse_body(body, *models)
        context.model = models[0] if row.get("model") is None else row["model"]
        context.other_name = context.model != models[0]
        return version, row

    def _scale(self, context: RequestContext) -> None:
        """Record the number of replicas at the request's arrival, even if it is handled later. Raises Refusal if there
        was none."""
        scaling = self._scaling
        if scaling is None:
            return
        scaling.arrive(context.received_ns, self.in_flight)
        context.replicas = n = scaling.replicas(context.received_ns)
        if n == 0:
            raise refusals.refusal_of(503, _SCALING, headers=(("retry-after", "1"),))
        context.replica_ns = scaling.came_ns[n - 1]

    def choose_faults(
        self, request: Request, context: RequestContext, version: ConfigVersion
    ) -> tuple[Overrides, tuple[Fault, ...], ArrivalFacts]:
        """The overrides in the request's headers, and the faults that hit it. Raises Refusal."""
        config = version.config
        overrides = read_overrides(request.headers)
        overrides.refuse_hidden(version.latencies)
        facts = self._arrival_facts(context, version)
        faults = overrides.faults
        if config.engine == "batching" and any(fault.name in SCALING_FAULTS for fault in faults or ()):
            refusals.refuse(f"x-mock-fault: {NEEDS_DRAWN_LATENCIES}", "x-mock-fault")
        if faults is None:
            arrival = context.arrival
            faults = draw_faults(config.fault, config.seed, arrival.key, arrival.attempt, facts, arrival.own_key)
        if context.held_ns:
            faults = (fault_of("slow_accept", **{"for": context.held_ns}), *faults)
        return overrides, faults, facts

    def _arrival_facts(self, context: RequestContext, version: ConfigVersion) -> ArrivalFacts:
        """The facts that fault rules use. Arrivals and requests in flight are counted only if a rule needs them."""
        rules = version.config.fault
        counts = any(rule.skip for rule in rules)
        crowds = any(rule.crowd is not None for rule in rules)
        return ArrivalFacts(
            context.arrival.index,
            context.received_ns - version.since_ns,
            self.shared.take("arrivals") if counts else 0,
            self.in_flight if crowds else 0,
        )

    async def check_characters(self, text: str, limit: int, asked_tokens: int | None = None) -> None:
        """Raises Refusal if a text of this length cannot fit into `limit` tokens, whatever its tokens are."""
        asked = 0 if asked_tokens is None else min(asked_tokens, limit)
        most = limit - asked
        if len(text) > most:
            longest = await self.counter.longest_token(-(-len(text) // most) if most else sys.maxsize)
            if len(text) > most * longest:
                raise openai.characters_refusal(limit, len(text), asked, longest)

    def _refuse(self, context: RequestContext, refusal: Refusal) -> None:
        sent_ns = context.wire.respond(refusal.status, refusal.headers, refusal.body)
        self._ledger.add(entry_of_refusal(context, refusal, sent_ns))

    def on_end(self, context: RequestContext, keys: EngineKeys, reply: Reply) -> None:
        """Release the reply's choices from the engine, and record the request."""
        reports = [keys.release(choice, reply.tokens_of(choice)) for choice in range(len(keys))]
        # The engine decided the times; they are the plan in the ledger.
        context.plan = reports[0].plan
        context.choice_plans = [report.plan for report in reports] if len(reports) > 1 else []
        count = context.count
        assert count is not None

        def record() -> None:
            self._awaited.discard(count)
            self._ledger.add(entry_of_reply(context, reply, reports[0].facts))

        if not count.known:
            self._awaited.add(count)
        count.when_known(record)


def raise_refusal(faults: tuple[Fault, ...]) -> None:
    """Raises Refusal if one of the faults is a refusal."""
    for fault in faults:
        if fault.kind.status is not None:
            raise refusals.fault_refusal(fault.kind.status, fault.options.get("retry_after"))


def _token_text(tokenizer: Tokenizer) -> TokenText:
    try:
        return TokenText(tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {problem}" for problem in e.problems]) from e
