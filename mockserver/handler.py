"""From the arrival of a request to its ledger entry: identify it, check it, plan it, and hand it to the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mockserver import rng
from mockserver.clock import utc_seconds
from mockserver.combinations import NEEDS_DRAWN_LATENCIES
from mockserver.config import MockConfig
from mockserver.dialect import openai, refusals
from mockserver.dialect.access import require_key
from mockserver.dialect.embeddings import embedding_body, embedding_data, parse_embedding, too_long
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import Frames
from mockserver.dialect.overrides import Overrides, read_overrides
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal
from mockserver.engine import ENGINES, EngineRequest
from mockserver.entries import RequestContext, entry_of_refusal, entry_of_reply
from mockserver.errors import UsageError
from mockserver.faults import SCALING_FAULTS, ArrivalFacts, Fault
from mockserver.faults import fault as fault_of
from mockserver.pacing import Pacer, Stepper
from mockserver.plans.arrival import Arrivals
from mockserver.plans.plan import Plan, draw_faults, draw_plan
from mockserver.record.ledger import Ledger
from mockserver.replies.blocks import ReplyBlocks
from mockserver.replies.plain_stream import PlainStream
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply, WholeReply
from mockserver.replies.shaped.choice import shaped_reply
from mockserver.replies.shaped.pooled import pooled_content
from mockserver.replies.shaped.whole import ShapedWhole
from mockserver.replies.stream_interval import StreamInterval
from mockserver.replies.wire import Connection, DirectWire, Wire, wire_of
from mockserver.settings import ConfigVersion, Settings
from mockserver.tokencount import Counter, TokenCount, known_count
from mockserver.workers.shared_state import SharedState
from promptset.errors import SpecError
from promptset.text import TokenText
from promptset.tokens import Tokenizer

_DRAINING = "The server is shutting down and takes no new requests."
_TEMPLATE_TOKENS = 16
"""More than the special tokens that a tokenizer adds to a text."""


class WireResponse(Response):
    """Lets Starlette wait for a response that is written on its wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wire.run(scope, receive, send)


class RequestHandler:
    """Handles the requests of one process. Create it inside a running event loop, and close it."""

    def __init__(
        self, config: MockConfig, settings: Settings, tokenizer: Tokenizer, shared: SharedState, ledger: Ledger
    ) -> None:
        """`config` is the configuration of the start: it chooses the engine. Raises UsageError if the tokenizer cannot
        generate text."""
        self.draining = False
        """The mock is shutting down: requests in flight finish, new requests are refused."""
        self._settings = settings
        self._tokenizer = tokenizer
        self._shared = shared
        self._ledger = ledger
        self._text = _token_text(tokenizer)
        self._pacer = Pacer()
        self.engine = ENGINES[config.engine](config)
        self._stepper = Stepper(self.engine, self._pacer)
        self.counter = Counter(tokenizer, self.engine.block_tokens, urgent=self.engine.needs_input_tokens)
        self._blocks = ReplyBlocks(tokenizer, self.engine.block_tokens)
        self._awaited: set[TokenCount] = set()
        """Counts that entries of ended responses wait for."""
        self.reset_counters()

    def reset_counters(self) -> None:
        """Count arrivals from 0."""
        self.arrivals = Arrivals(self._shared)
        self.clocks = {"kernel": 0, "user": 0}

    @property
    def plans_decide(self) -> bool:
        """Whether the plan alone decides the times of a reply, whatever else is in flight."""
        return self._stepper.plans_decide

    async def settle(self) -> None:
        """Wait until the entry of every response that has ended is in the ledger."""
        for count in [*self._awaited]:
            await count.wait()

    async def close(self) -> None:
        """Finish the counts that the ledger waits for, and release everything."""
        await self.counter.close()
        self._pacer.close()

    async def generate(self, request: Request, endpoint: Endpoint, handled_ns: int) -> Response:
        """Handle a request for text."""
        return await self._handle(request, handled_ns, partial(self._generate, endpoint), endpoint.refused)

    async def embed(self, request: Request, handled_ns: int) -> Response:
        """Handle a request for embeddings."""
        return await self._handle(request, handled_ns, self._embed)

    async def _handle(
        self,
        request: Request,
        handled_ns: int,
        serve: Callable[[Request, bytes, RequestContext], Awaitable[None]],
        refused: Callable[[Refusal], Refusal] = lambda refusal: refusal,
    ) -> Response:
        wire, connection = wire_of(request.scope)
        try:
            body, refusal = await self._read_body(request, connection)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody reads it, and the request never arrived.
        received_ns = handled_ns
        if connection is not None and connection.received_ns is not None:
            received_ns = connection.received_ns
            self.clocks[connection.clock] += 1
        else:
            self.clocks["user"] += 1
        arrival = self.arrivals.identify(request.headers.get("x-request-id"))
        context = RequestContext(arrival, received_ns, handled_ns, len(body), wire)
        if connection is not None and connection.held_until_ns is not None:
            context.held_ns = max(0, connection.held_until_ns - received_ns)
        try:
            if refusal is not None:
                raise refusal
            await serve(request, body, context)
        except Refusal as e:
            self._refuse(context, refused(e))
        return WireResponse(wire)

    async def _read_body(self, request: Request, connection: Connection | None) -> tuple[bytes, Refusal | None]:
        max_body_mb = self._settings.current.config.max_body_mb
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > int(max_body_mb * 1_000_000):
                if connection is not None:
                    connection.close_after_response()
                message = f"The request body is larger than {max_body_mb:g} MB (--max-body-mb)."
                return b"", refusals.refusal_of(413, message)
        return b"".join(parts), None

    def _admit(
        self,
        request: Request,
        body: bytes,
        context: RequestContext,
        require_key: Callable[[Request, MockConfig], None] = require_key,
    ) -> tuple[ConfigVersion, dict[str, Any]]:
        """The configuration version that the request keeps to its end, and its body as JSON. Raises Refusal."""
        if self.draining:
            raise refusals.refusal_of(503, _DRAINING, headers=(("retry-after", "1"),))
        version = self._settings.current
        context.version = version.number
        require_key(request, version.config)
        return version, openai.parse_body(body, version.config.model)

    def _choose_faults(
        self, request: Request, context: RequestContext, version: ConfigVersion
    ) -> tuple[Overrides, tuple[Fault, ...], ArrivalFacts]:
        """The overrides in the request's headers, and the faults that hit it. Raises Refusal."""
        config = version.config
        overrides = read_overrides(request.headers)
        facts = self._arrival_facts(context, version)
        faults = overrides.faults
        if config.engine == "batching" and any(fault.name in SCALING_FAULTS for fault in faults or ()):
            refusals.refuse(f"x-mock-fault: {NEEDS_DRAWN_LATENCIES}", "x-mock-fault")
        if faults is None:
            faults = draw_faults(config.fault, config.seed, context.arrival.key, context.arrival.attempt, facts)
        if context.held_ns:
            faults = (fault_of("slow_accept", **{"for": context.held_ns}), *faults)
        return overrides, faults, facts

    def _arrival_facts(self, context: RequestContext, version: ConfigVersion) -> ArrivalFacts:
        """What fault rules look at. Arrivals are counted only if a rule needs their number."""
        counts = any(rule.skip for rule in version.config.fault)
        return ArrivalFacts(
            context.arrival.index,
            context.received_ns - version.since_ns,
            self._shared.take("arrivals") if counts else 0,
        )

    async def _generate(self, endpoint: Endpoint, request: Request, body: bytes, context: RequestContext) -> None:
        version, row = self._admit(request, body, context, endpoint.require_key)
        config = version.config
        params = endpoint.parse(row)
        overrides, faults, facts = self._choose_faults(request, context, version)
        draw = partial(
            draw_plan,
            overrides.over(version.latencies),
            config.seed,
            context.arrival.key,
            asked_tokens=params.asked_tokens,
            ends_itself=overrides.output_tokens is not None,
            reasons=endpoint.is_chat,
            faults=faults,
            at_ns=facts.at_ns,
        )
        limit = config.max_model_len
        plan = context.plan = draw(limit_tokens=limit)
        _raise_refusal(faults)
        context.count, most = await self._count(params, limit)
        if most + plan.output_tokens > limit:
            # It may not fit. Only now does the reply have to wait for the exact count.
            tokens = await context.count.wait()
            if tokens is not None:
                asked = params.asked_tokens
                if tokens + (1 if asked is None else asked) > limit:
                    context.plan = None
                    raise openai.context_refusal(limit, tokens, 1 if asked is None else asked, context.count.at_least)
                limit -= tokens
                plan = context.plan = draw(limit_tokens=limit)
        by_input = version.latencies.ttft_per_input_token is not None
        if params.continuous_usage or endpoint.counts_first or by_input or self.engine.needs_input_tokens:
            await context.count.wait()
            if by_input and context.count.tokens is not None:
                plan = context.plan = draw(limit_tokens=limit, input_tokens=context.count.tokens)
        self._begin(params, plan, endpoint, context, version)

    def _begin(
        self, params: RequestParams, plan: Plan, endpoint: Endpoint, context: RequestContext, version: ConfigVersion
    ) -> None:
        assert context.count is not None
        config = version.config
        reply_id = context.arrival.id if context.arrival.id is not None else f"mock-{self._shared.take('replies')}"
        pieces = self._text.pieces(plan.output_tokens, rng.stream(config.seed, "text", context.arrival.key))
        identity = (endpoint.id_prefix + reply_id, utc_seconds(), config.model)

        def on_end(reply: ReplyWriter) -> None:
            self._on_end(context, reply, key)

        reply: ReplyWriter
        if endpoint.templates is None or version.style.shapes(params, plan):
            shaped = version.style.content(params, plan, pieces, endpoint, *identity, context.count)
            plan = shaped.plan
            pieces = pieces[: plan.output_tokens]
            reply = shaped_reply(context.wire, shaped, self._pacer, on_end)
        else:
            content = Content(params, plan, pieces, plan.finish.encode(), Frames(endpoint, *identity), context.count)
            reply = _ordinary_reply(context.wire, content, on_end)
        work = EngineRequest(
            context.received_ns, plan, context.count.tokens, self._blocks.links(context.count.chain, pieces)
        )
        interval = config.stream_interval
        if interval > 1:
            key = self._stepper.admit(work, StreamInterval(reply.take, interval, plan.output_tokens))
        elif isinstance(reply, PlainStream) and self._stepper.plans_decide:
            key = self._stepper.follow(work, reply.pace(work.received_ns))
        else:
            key = self._stepper.admit(work, reply.take)
        reply.begin()

    async def _embed(self, request: Request, body: bytes, context: RequestContext) -> None:
        """The response is due when a first token would be: an embedding has TTFT and no other latency."""
        version, row = self._admit(request, body, context)
        config = version.config
        params = parse_embedding(row, config.embedding_size)
        for text in params.inputs:
            if isinstance(text, str):
                await self.check_characters(text, config.max_model_len)
        counts = [
            self.counter.count_text(text, True, config.max_model_len)
            if isinstance(text, str)
            else known_count(len(text))
            for text in params.inputs
        ]
        tokens = [await count.wait() or 0 for count in counts]
        for number, each in enumerate(tokens):
            if each > config.max_model_len:
                raise too_long(config.max_model_len, number, each)
        overrides, faults, facts = self._choose_faults(request, context, version)
        plan = context.plan = draw_plan(
            overrides.over(version.latencies),
            config.seed,
            context.arrival.key,
            asked_tokens=1,
            limit_tokens=1,
            input_tokens=sum(tokens),
            faults=faults,
            at_ns=facts.at_ns,
        )
        _raise_refusal(faults)
        plan = context.plan = replace(plan, finish="stop")
        context.count, context.generates = known_count(sum(tokens)), False
        data = await embedding_data(params, config.seed)
        identity = (f"embd-mock-{self._shared.take('replies')}", utc_seconds(), config.model)
        content = pooled_content(plan, partial(embedding_body, data, *identity), context.count)
        reply = ShapedWhole(context.wire, content, self._pacer, lambda reply: self._on_end(context, reply, key))
        # To the engine, the inputs are one prompt that fits its context and is not in its prefix cache.
        work = EngineRequest(context.received_ns, plan, min(sum(tokens), config.max_model_len - 1))
        key = self._stepper.admit(work, reply.take)
        reply.begin()

    async def check_characters(self, text: str, limit: int, asked_tokens: int | None = None) -> None:
        """Raises Refusal if no text of this length fits into `limit` tokens, whatever its tokens are."""
        asked = 0 if asked_tokens is None else min(asked_tokens, limit)
        if len(text) > limit - asked:
            longest = await self.counter.longest_token()
            if len(text) > (limit - asked) * longest:
                raise openai.characters_refusal(limit, len(text), asked, longest)

    async def _count(self, params: RequestParams, limit: int) -> tuple[TokenCount, int]:
        """The count of the input, which may come later, and an upper bound for it. Raises Refusal."""
        if isinstance(params.prompt, list):
            return self.counter.count_ids(params.prompt), len(params.prompt)
        if params.prompt is not None:
            await self.check_characters(params.prompt, limit, params.asked_tokens)
            return self.counter.count_text(params.prompt, True, limit), _most_tokens(params.prompt)
        assert params.messages is not None
        try:
            text = self._tokenizer.render_chat(params.messages, params.tools)
        except SpecError as e:
            refusals.refuse(str(e), "messages")
        await self.check_characters(text, limit, params.asked_tokens)
        return self.counter.count_text(text, False, limit), _most_tokens(text)

    def _refuse(self, context: RequestContext, refusal: Refusal) -> None:
        sent_ns = context.wire.respond(refusal.status, refusal.headers, refusal.body)
        self._ledger.add(entry_of_refusal(context, refusal, sent_ns))

    def _on_end(self, context: RequestContext, reply: ReplyWriter, key: int) -> None:
        report = self._stepper.release(key, reply.tokens_out)
        # The times that the engine decided are the plan that the ledger compares with.
        context.plan = report.plan
        count = context.count
        assert count is not None

        def record() -> None:
            self._awaited.discard(count)
            self._ledger.add(entry_of_reply(context, reply, report.facts))

        if not count.known:
            self._awaited.add(count)
        count.when_known(record)


def _ordinary_reply(wire: Wire, content: Content, on_end: Callable[[ReplyWriter], None]) -> ReplyWriter:
    params = content.params
    if not params.stream:
        return WholeReply(wire, content, on_end)
    if isinstance(wire, DirectWire) and wire.framed and not params.continuous_usage:
        return PlainStream(wire, content, on_end)
    return StreamedReply(wire, content, on_end)


def _raise_refusal(faults: tuple[Fault, ...]) -> None:
    """Raises Refusal if one of the faults is a refusal."""
    for fault in faults:
        if fault.kind.status is not None:
            raise refusals.fault_refusal(fault.kind.status, fault.options.get("retry_after"))


def _most_tokens(text: str) -> int:
    """Each token covers at least one byte."""
    return len(text.encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS


def _token_text(tokenizer: Tokenizer) -> TokenText:
    try:
        return TokenText(tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {problem}" for problem in e.problems]) from e
