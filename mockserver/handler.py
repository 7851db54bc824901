"""From the arrival of a request to the line in the ledger: identify, check, plan, let the engine give its tokens."""

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
from mockserver.combinations import OF_PLANS_ALONE
from mockserver.config import MockConfig
from mockserver.dialect import openai
from mockserver.dialect.access import require_key
from mockserver.dialect.embeddings import embedding_data, embedding_script, parse_embedding, too_long
from mockserver.dialect.openai import Ask, Frames, Refusal, Shape
from mockserver.dialect.overrides import Overrides, read_overrides
from mockserver.engine import ENGINES, Work
from mockserver.entries import Case, entry_of_refusal, entry_of_reply
from mockserver.errors import UsageError
from mockserver.faults import SCALED, Arrived, Fault
from mockserver.faults import fault as fault_of
from mockserver.pacing import Pacer, Stepper
from mockserver.plans.arrival import Arrivals
from mockserver.plans.plan import Plan, draw_faults, draw_plan
from mockserver.record.ledger import Ledger
from mockserver.replies.blocks import ReplyBlocks
from mockserver.replies.plain_stream import PlainStream
from mockserver.replies.reply import Content, Reply, StreamedReply, WholeReply
from mockserver.replies.shaped.choice import shaped_reply
from mockserver.replies.shaped.whole import ShapedWhole
from mockserver.replies.stream_interval import StreamInterval
from mockserver.replies.wire import Connection, DirectWire, Wire, wire_of
from mockserver.settings import Settings, Version
from mockserver.tokencount import Counter, TokenCount, counted
from mockserver.workers.shared_state import SharedState
from promptset.errors import SpecError
from promptset.text import TokenText
from promptset.tokens import Tokenizer

_DRAINING = "The server is shutting down: it takes no more requests."
_TEMPLATE_TOKENS = 16
"""More than a tokenizer adds to a text by itself."""


class Answer(Response):
    """The ASGI side of a response that is written on its wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wire.run(scope, receive, send)


class Answering:
    """Serves the requests of one process: make it inside a running event loop, and close it."""

    def __init__(
        self, config: MockConfig, settings: Settings, tokenizer: Tokenizer, shared: SharedState, ledger: Ledger
    ) -> None:
        """`config` is that of the start, which decides the engine. Raises UsageError where the tokenizer cannot make text."""
        self.draining = False
        """The mock is to end: what is in flight may go on, new requests are refused."""
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
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count arrivals from the start again."""
        self.arrivals = Arrivals(self._shared)
        self.clocks = {"kernel": 0, "user": 0}

    @property
    def plans_decide(self) -> bool:
        """Whether the times of a reply are its plan's, whatever else is in flight."""
        return self._stepper.plans_decide

    async def close(self) -> None:
        """Give everything back. What was counted for the ledger is in it then."""
        await self.counter.close()
        self._pacer.close()

    async def answer(self, request: Request, shape: Shape, handled_ns: int) -> Response:
        """Answer one request of an endpoint that generates text."""
        return await self._answer(request, handled_ns, partial(self._serve, shape))

    async def embed(self, request: Request, handled_ns: int) -> Response:
        """Answer one request for embeddings."""
        return await self._answer(request, handled_ns, self._embed)

    async def _answer(
        self, request: Request, handled_ns: int, serve: Callable[[Request, bytes, Case], Awaitable[None]]
    ) -> Response:
        wire, connection = wire_of(request.scope)
        try:
            body, refusal = await self._read_body(request, connection)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it, and no request has arrived.
        received_ns = handled_ns
        if connection is not None and connection.received_ns is not None:
            received_ns = connection.received_ns
            self.clocks[connection.clock] += 1
        else:
            self.clocks["user"] += 1
        arrival = self.arrivals.note(request.headers.get("x-request-id"))
        case = Case(arrival, received_ns, handled_ns, len(body), wire)
        if connection is not None and connection.held_until_ns is not None:
            case.held_ns = max(0, connection.held_until_ns - received_ns)
        try:
            if refusal is not None:
                raise refusal
            await serve(request, body, case)
        except Refusal as e:
            self._refuse(case, e)
        return Answer(wire)

    async def _read_body(self, request: Request, connection: Connection | None) -> tuple[bytes, Refusal | None]:
        limit = int(self._settings.now.config.max_body_mb * 1_000_000)
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                if connection is not None:
                    connection.close_after_response()
                message = f"The request body is larger than {self._settings.now.config.max_body_mb:g} MB."
                return b"", Refusal(413, openai.error_body(413, message))
        return b"".join(parts), None

    def _admit(self, request: Request, body: bytes, case: Case) -> tuple[Version, dict[str, Any]]:
        """The version that holds for a request, and its body. Raises Refusal."""
        if self.draining:
            raise Refusal(503, openai.error_body(503, _DRAINING), (("retry-after", "1"),))
        version = self._settings.now
        case.version = version.number
        require_key(request, version.config)
        return version, openai.parse_body(body, version.config.model)

    def _faults(self, request: Request, case: Case, version: Version) -> tuple[Overrides, tuple[Fault, ...], Arrived]:
        """What the request overrides, and the faults that it meets. Raises Refusal."""
        config = version.config
        overrides = read_overrides(request.headers)
        arrived = self._arrived(case, version)
        faults = overrides.faults
        if config.engine == "batching" and any(fault.name in SCALED for fault in faults or ()):
            openai.refuse(f"x-mock-fault: {OF_PLANS_ALONE}", "x-mock-fault")
        if faults is None:
            faults = draw_faults(config.fault, config.seed, case.arrival.key, case.arrival.attempt, arrived)
        if case.held_ns:
            faults = (fault_of("slow_accept", **{"for": case.held_ns}), *faults)
        return overrides, faults, arrived

    async def _serve(self, shape: Shape, request: Request, body: bytes, case: Case) -> None:
        version, row = self._admit(request, body, case)
        config = version.config
        ask = shape.parse(row)
        overrides, faults, arrived = self._faults(request, case, version)
        draw = partial(
            draw_plan,
            overrides.over(version.latencies),
            config.seed,
            case.arrival.key,
            asked_tokens=ask.asked_tokens,
            ends_itself=overrides.output_tokens is not None,
            reasons=shape.role is not None,
            faults=faults,
            at_ns=arrived.at_ns,
        )
        limit = config.max_model_len
        plan = case.plan = draw(limit_tokens=limit)
        _refuse_by(faults)
        case.count, most = self._count(ask)
        if most + plan.output_tokens > limit:
            # It may not fit: only now the exact number must be known before the reply begins.
            tokens = await case.count.wait()
            if tokens is not None:
                asked = ask.asked_tokens
                if tokens + (1 if asked is None else asked) > limit:
                    case.plan = None
                    raise openai.context_refusal(limit, tokens, 1 if asked is None else asked)
                limit -= tokens
                plan = case.plan = draw(limit_tokens=limit)
        by_input = version.latencies.ttft_per_input_token is not None
        if ask.continuous_usage or by_input or self.engine.needs_input_tokens:
            await case.count.wait()
            if by_input and case.count.tokens is not None:
                plan = case.plan = draw(limit_tokens=limit, input_tokens=case.count.tokens)
        self._begin(ask, plan, shape, case, version)

    def _begin(self, ask: Ask, plan: Plan, shape: Shape, case: Case, version: Version) -> None:
        assert case.count is not None
        config = self._settings.now.config
        reply_id = case.arrival.id if case.arrival.id is not None else f"mock-{self._shared.take('replies')}"
        pieces = self._text.pieces(plan.output_tokens, rng.stream(config.seed, "text", case.arrival.key))
        identity = (shape.id_prefix + reply_id, utc_seconds(), config.model)

        def on_end(reply: Reply) -> None:
            self._on_end(case, reply, key)

        reply: Reply
        if version.form.takes(ask, plan):
            script = version.form.script(ask, plan, pieces, shape, *identity, case.count)
            plan = script.plan
            pieces = pieces[: plan.output_tokens]
            reply = shaped_reply(case.wire, script, self._pacer, on_end)
        else:
            content = Content(ask, plan, pieces, plan.finish.encode(), Frames(shape, *identity), case.count)
            reply = _reply(case.wire, content, on_end)
        work = Work(case.received_ns, plan, case.count.tokens, self._blocks.links(case.count.chain, pieces))
        interval = config.stream_interval
        if interval > 1:
            key = self._stepper.admit(work, StreamInterval(reply.take, interval, plan.output_tokens))
        elif isinstance(reply, PlainStream) and self._stepper.plans_decide:
            key = self._stepper.follow(work, reply.pace(work.received_ns))
        else:
            key = self._stepper.admit(work, reply.take)
        reply.begin()

    def _arrived(self, case: Case, version: Version) -> Arrived:
        """What the rules of faults look at. Arrivals are counted only where a rule asks for their number."""
        counts = any(rule.skip for rule in version.config.fault)
        return Arrived(
            case.arrival.index,
            case.received_ns - version.since_ns,
            self._shared.take("arrivals") if counts else 0,
        )

    async def _embed(self, request: Request, body: bytes, case: Case) -> None:
        """The answer is due when a first token would be: TTFT is all the latency that an embedding has."""
        version, row = self._admit(request, body, case)
        config = version.config
        ask = parse_embedding(row, config.embedding_size)
        counts = [self.counter.count_text(i, True) if isinstance(i, str) else counted(len(i)) for i in ask.inputs]
        tokens = [await count.wait() or 0 for count in counts]
        for number, each in enumerate(tokens):
            if each > config.max_model_len:
                raise too_long(config.max_model_len, number, each)
        overrides, faults, arrived = self._faults(request, case, version)
        plan = case.plan = draw_plan(
            overrides.over(version.latencies),
            config.seed,
            case.arrival.key,
            asked_tokens=1,
            limit_tokens=1,
            input_tokens=sum(tokens),
            faults=faults,
            at_ns=arrived.at_ns,
        )
        _refuse_by(faults)
        plan = case.plan = replace(plan, finish="stop")
        case.count, case.generates = counted(sum(tokens)), False
        data = await embedding_data(ask, config.seed)
        identity = (f"embd-mock-{self._shared.take('replies')}", utc_seconds(), config.model)
        script = embedding_script(plan, data, *identity, case.count)
        reply = ShapedWhole(case.wire, script, self._pacer, lambda reply: self._on_end(case, reply, key))
        # The inputs are one prompt to the engine, no longer than its context, and not in its prefix cache.
        work = Work(case.received_ns, plan, min(sum(tokens), config.max_model_len - 1))
        key = self._stepper.admit(work, reply.take)
        reply.begin()

    def _count(self, ask: Ask) -> tuple[TokenCount, int]:
        """The count of the input, which may come later, and a number that it cannot exceed."""
        if isinstance(ask.prompt, list):
            return self.counter.count_ids(ask.prompt), len(ask.prompt)
        if ask.prompt is not None:
            return self.counter.count_text(ask.prompt, special=True), _most(ask.prompt)
        assert ask.messages is not None
        try:
            text = self._tokenizer.render_chat(ask.messages, ask.tools)
        except SpecError as e:
            openai.refuse(str(e), "messages")
        return self.counter.count_text(text, special=False), _most(text)

    def _refuse(self, case: Case, refusal: Refusal) -> None:
        sent_ns = case.wire.respond(refusal.status, refusal.headers, refusal.body)
        self._ledger.add(entry_of_refusal(case, refusal, sent_ns))

    def _on_end(self, case: Case, reply: Reply, key: int) -> None:
        released = self._stepper.release(key, reply.tokens_out)
        # What the engine decided is the plan that was to be kept.
        case.plan = released.plan
        assert case.count is not None
        case.count.when_known(lambda: self._ledger.add(entry_of_reply(case, reply, released.facts)))


def _reply(wire: Wire, content: Content, on_end: Callable[[Reply], None]) -> Reply:
    ask = content.ask
    if not ask.stream:
        return WholeReply(wire, content, on_end)
    if isinstance(wire, DirectWire) and wire.framed and not ask.continuous_usage:
        return PlainStream(wire, content, on_end)
    return StreamedReply(wire, content, on_end)


def _refuse_by(faults: tuple[Fault, ...]) -> None:
    """Raises Refusal where one of the faults is a refusal."""
    for fault in faults:
        if fault.kind.status is not None:
            raise openai.fault_refusal(fault.kind.status, fault.options.get("retry_after"))


def _most(text: str) -> int:
    """A token covers a byte at least."""
    return len(text.encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS


def _token_text(tokenizer: Tokenizer) -> TokenText:
    try:
        return TokenText(tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {problem}" for problem in e.problems]) from e
