"""A request for text: parsed, counted, planned, and handed to the engine with its reply."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request

from mockserver import rng
from mockserver.clock import utc_seconds
from mockserver.dialect import openai, refusals
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import Frames
from mockserver.dialect.params import RequestParams
from mockserver.engine import EngineRequest
from mockserver.entries import RequestContext
from mockserver.intake import Intake, raise_refusal
from mockserver.plans.plan import Plan, draw_plan
from mockserver.replies.plain_stream import PlainStream
from mockserver.replies.reply import Content, ReplyWriter, StreamedReply, WholeReply
from mockserver.replies.shaped.choice import shaped_reply
from mockserver.replies.stream_interval import StreamInterval
from mockserver.replies.wire import DirectWire, Wire
from mockserver.settings import ConfigVersion
from mockserver.tokencount import TokenCount
from promptset.errors import SpecError

_TEMPLATE_TOKENS = 16
"""More than the special tokens that a tokenizer adds to a text."""


class Generation:
    """Serves the endpoints that generate text."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def serve(self, endpoint: Endpoint, request: Request, body: bytes, context: RequestContext) -> None:
        version, row = self._intake.admit(request, body, context, endpoint.require_key)
        config = version.config
        params = endpoint.parse(row)
        overrides, faults, facts = self._intake.choose_faults(request, context, version)
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
        raise_refusal(faults)
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
        if params.continuous_usage or by_input or self._intake.engine.needs_input_tokens:
            await context.count.wait()
            if by_input and context.count.tokens is not None:
                plan = context.plan = draw(limit_tokens=limit, input_tokens=context.count.tokens)
        self._begin(params, plan, endpoint, context, version)

    def _begin(
        self, params: RequestParams, plan: Plan, endpoint: Endpoint, context: RequestContext, version: ConfigVersion
    ) -> None:
        assert context.count is not None
        config = version.config
        reply_id = (
            context.arrival.id if context.arrival.id is not None else f"mock-{self._intake.shared.take('replies')}"
        )
        pieces = self._intake.text.pieces(plan.output_tokens, rng.stream(config.seed, "text", context.arrival.key))
        identity = (endpoint.id_prefix + reply_id, utc_seconds(), config.model)

        def on_end(reply: ReplyWriter) -> None:
            self._intake.on_end(context, reply, key)

        reply: ReplyWriter
        if endpoint.templates is None or version.style.shapes(params, plan):
            shaped = version.style.content(params, plan, pieces, endpoint, *identity, context.count)
            plan = shaped.plan
            pieces = pieces[: plan.output_tokens]
            reply = shaped_reply(context.wire, shaped, self._intake.pacer, on_end)
        else:
            content = Content(params, plan, pieces, plan.finish.encode(), Frames(endpoint, *identity), context.count)
            reply = _ordinary_reply(context.wire, content, on_end)
        work = EngineRequest(
            context.received_ns, plan, context.count.tokens, self._intake.blocks.links(context.count.chain, pieces)
        )
        interval = config.stream_interval
        if interval > 1:
            key = self._intake.stepper.admit(work, StreamInterval(reply.take, interval, plan.output_tokens))
        elif isinstance(reply, PlainStream) and self._intake.stepper.plans_decide:
            key = self._intake.stepper.follow(work, reply.pace(work.received_ns))
        else:
            key = self._intake.stepper.admit(work, reply.take)
        reply.begin()

    async def _count(self, params: RequestParams, limit: int) -> tuple[TokenCount, int]:
        """The count of the input, which may come later, and an upper bound for it. Raises Refusal."""
        if isinstance(params.prompt, list):
            return self._intake.counter.count_ids(params.prompt), len(params.prompt)
        if params.prompt is not None:
            await self._intake.check_characters(params.prompt, limit, params.asked_tokens)
            return self._intake.counter.count_text(params.prompt, True, limit), _most_tokens(params.prompt)
        assert params.messages is not None
        try:
            text = self._intake.tokenizer.render_chat(params.messages, params.tools)
        except SpecError as e:
            refusals.refuse(str(e), "messages")
        await self._intake.check_characters(text, limit, params.asked_tokens)
        return self._intake.counter.count_text(text, False, limit), _most_tokens(text)


def _ordinary_reply(wire: Wire, content: Content, on_end: Callable[[ReplyWriter], None]) -> ReplyWriter:
    params = content.params
    if not params.stream:
        return WholeReply(wire, content, on_end)
    if isinstance(wire, DirectWire) and wire.framed and not params.continuous_usage:
        return PlainStream(wire, content, on_end)
    return StreamedReply(wire, content, on_end)


def _most_tokens(text: str) -> int:
    """Each token covers at least one byte."""
    return len(text.encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS
