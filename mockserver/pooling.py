"""Serves a request for embeddings or scores: counts its inputs, and sends one body when they are processed.

The reply is due at the time of a first token: it has a TTFT and no other latency.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from starlette.requests import Request

from mockserver.clock import utc_seconds
from mockserver.dialect.pooling import PoolingEndpoint, PoolingRequest, too_long
from mockserver.engine import EngineRequest
from mockserver.entries import RequestContext
from mockserver.intake import EngineKeys, Intake, raise_refusal
from mockserver.plans.plan import ReplyLength, draw_plan
from mockserver.replies.pooled import pooled_content
from mockserver.replies.reply import Reply
from mockserver.replies.whole import WholeWriter
from mockserver.tokencount import known_count


class Pooling:
    """Serves the endpoints that generate no text."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def serve(self, endpoint: PoolingEndpoint, request: Request, body: bytes, context: RequestContext) -> None:
        """Raises Refusal."""
        intake = self._intake
        version, row = intake.admit(request, body, context)
        config = version.config
        asked = endpoint.parse(row, config.embedding_size)
        tokens = await self._tokens(asked, config.max_model_len)
        overrides, faults, facts = intake.choose_faults(request, context, version)
        plan = draw_plan(
            overrides.over(version.latencies),
            config.seed,
            context.arrival.key,
            ReplyLength(1, asked=1),
            input_tokens=tokens,
            faults=faults,
            at_ns=facts.at_ns,
        )
        context.plan = plan
        raise_refusal(faults)
        plan = context.plan = replace(plan, finish="stop")
        context.count, context.inputs = known_count(tokens), len(asked.inputs)
        reply_id = context.arrival.id if context.arrival.id is not None else f"mock-{intake.shared.take('replies')}"
        make = await asked.answer(config.seed, (endpoint.id_prefix + reply_id, utc_seconds(), context.model))
        content = pooled_content(plan, make, context.count)
        keys = EngineKeys(intake.stepper)
        writer = WholeWriter(content, intake.pacer.now_ns)
        reply = Reply(context.wire, writer, intake.pacer, partial(intake.on_end, context, keys))
        # To the engine, the inputs are one prompt that fits its context and is not in its prefix cache.
        work = EngineRequest(context.received_ns, plan, min(tokens, config.max_model_len - 1))
        keys.admit(work, reply.take)
        reply.begin()

    async def _tokens(self, asked: PoolingRequest, limit: int) -> int:
        """The total tokens of all inputs. Each distinct text is counted once. Raises Refusal if an input exceeds the
        context."""
        counter = self._intake.counter
        texts = {text for parts in asked.inputs for text in parts if isinstance(text, str)}
        for text in texts:
            await self._intake.check_characters(text, limit)
        waiting = {text: counter.count_text(text, True, limit) for text in texts}
        counted = {text: await count.wait() or 0 for text, count in waiting.items()}
        total = 0
        for number, parts in enumerate(asked.inputs):
            tokens = sum(counted[part] if isinstance(part, str) else len(part) for part in parts)
            if tokens > limit:
                raise too_long(limit, asked.entry_name, number, tokens)
            total += tokens
        return total
