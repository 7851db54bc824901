"""Serves a request for text: parses, counts and plans it, and hands it to the engine with its reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from starlette.requests import Request

from mockserver import rng
from mockserver.answers import Answer, Answers, cut_json, solution_of
from mockserver.clock import utc_seconds
from mockserver.config import MockConfig
from mockserver.dialect import openai, refusals
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.media import MediaCosts, check_media
from mockserver.dialect.params import RequestParams
from mockserver.documents.grammar import Impossible
from mockserver.documents.lengths import DocumentMaker
from mockserver.documents.script import Script, Scripted, ScriptWriter, ToolRule, script_of
from mockserver.engine import EngineRequest
from mockserver.entries import RequestContext
from mockserver.intake import EngineKeys, Intake, raise_refusal
from mockserver.plans.arrival import key_of_choice
from mockserver.plans.plan import Plan, ReplyLength, StreamKey, draw_plan
from mockserver.replies.choice import scripted_choice, text_choice, writer_of
from mockserver.replies.content import Choice
from mockserver.replies.logprobs import Logprobs
from mockserver.replies.reply import Reply
from mockserver.replies.stream_interval import StreamInterval
from mockserver.replies.text_reply import TextReply, remember, reply_of
from mockserver.settings import ConfigVersion
from mockserver.state.conversations import with_history
from mockserver.tokencount import TokenCount, known_count, total_count
from promptset.errors import SpecError
from promptset.media import without_media

_SEEN_PIECES = 10_000
"""More than the text has that replies are cut from."""
_TEMPLATE_TOKENS = 16
"""More than the special tokens that a tokenizer adds to a text."""


class _Draw(Protocol):
    def __call__(
        self,
        key: StreamKey,
        *,
        limit_tokens: int,
        input_tokens: int = 0,
        exact_tokens: int | None = None,
        ends_itself: bool = False,
    ) -> Plan: ...


@dataclass(slots=True)
class _Draft:
    """A choice before its reply begins."""

    key: StreamKey
    prompt: str | list[int] | None
    count: TokenCount
    plan: Plan
    draw: Callable[..., Plan]
    """Draws the plan again, with `exact_tokens` or `ends_itself`."""
    most: int
    """The maximum number of tokens."""
    answer: Answer | None = None
    """The answer to the probe. None if the request asks no probe."""
    altered: frozenset[str] = frozenset()
    """The faults that changed the answer or the JSON."""
    scripted: Scripted | None = None
    scripted_ids: Sequence[int] = ()
    """The tokens of the document or the calls, for an engine with a prefix cache."""


class Generation:
    """Serves the endpoints that generate text."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        maker = DocumentMaker(intake.tokenizer, lambda n, chance: "".join(intake.text.pieces(n, chance)))
        self._writer = ScriptWriter(intake.tokenizer, maker)
        self._answers = Answers(intake.text.pieces)
        # Encode the words as JSON now, so no request in a burst has to.
        remember(intake.text.pieces(_SEEN_PIECES, rng.stream(0, "text", 0)))

    async def serve(self, endpoint: Endpoint, request: Request, body: bytes, context: RequestContext) -> None:
        """Serve one request. Raises Refusal."""
        intake = self._intake
        version, row = intake.admit(
            request, body, context, endpoint.require_key, reads_body=endpoint.reads_body, decode=endpoint.decode
        )
        if not endpoint.reads_body:
            context.of_any, context.inputs = True, 1
        config = version.config
        params = endpoint.parse(row)
        context.audio_ns = params.audio_ns
        if params.speech is not None:
            context.speaks, context.inputs = True, None if params.speech.has_text else 1
        if params.images is not None:
            context.inputs = params.images
        overrides, faults, facts = intake.choose_faults(request, context, version)
        rule = ToolRule(config.tool_share, config.tool_calls, overrides.tool_calls)

        def draw(
            key: StreamKey,
            *,
            limit_tokens: int,
            input_tokens: int = 0,
            exact_tokens: int | None = None,
            ends_itself: bool = False,
        ) -> Plan:
            return draw_plan(
                overrides.over(version.latencies),
                config.seed,
                key,
                ReplyLength(
                    limit_tokens,
                    asked=params.asked_tokens,
                    ends_itself=ends_itself or overrides.output_tokens is not None,
                    exact=exact_tokens,
                ),
                reasons=endpoint.is_chat,
                faults=faults,
                at_ns=facts.at_ns,
                input_tokens=input_tokens,
            )

        context.plan = draw(context.arrival.key, limit_tokens=config.max_model_len)
        raise_refusal(faults)
        params = with_history(endpoint, row, params, intake.shared.responses, context, faults, config)
        intake.preparing += 1
        try:
            drafts = await self._drafts(params, draw, context, version)
            await self._script(params, rule, drafts, context, config)
        except BaseException:
            self._answers.forget(id(context))
            raise
        finally:
            intake.preparing -= 1
        context.plan = drafts[0].plan
        context.probe = None if drafts[0].answer is None else drafts[0].answer.right.kind
        self._begin(params, drafts, endpoint, context, version)

    async def _drafts(
        self,
        params: RequestParams,
        draw: _Draw,
        context: RequestContext,
        version: ConfigVersion,
    ) -> list[_Draft]:
        """The choices with their plans, prompt by prompt. Raises Refusal."""
        limit = version.config.max_model_len
        by_input = version.latencies.by_input
        at_once = params.continuous_usage or by_input or self._intake.engine.needs_input_tokens
        prompts = (params.prompt, *params.more_prompts)
        counted = [await self._count(params, prompt, version.config) for prompt in prompts]
        context.count = total_count([count for count, _ in counted])
        drafts: list[_Draft] = []
        for prompt, (count, most_input) in zip(prompts, counted, strict=True):
            keys = [key_of_choice(context.arrival.key, len(drafts) + i) for i in range(params.n)]
            room = limit
            plans = [draw(key, limit_tokens=room) for key in keys]
            if most_input + max(plan.output_tokens for plan in plans) > limit:
                # It may not fit. Only in this case must the reply wait for the exact count.
                tokens = await count.wait()
                if tokens is not None:
                    asked = 1 if params.asked_tokens is None else params.asked_tokens
                    if tokens + asked > limit:
                        context.plan = None
                        raise openai.context_refusal(limit, tokens, asked, count.at_least)
                    room = limit - tokens
                    plans = [draw(key, limit_tokens=room) for key in keys]
            known = 0
            if at_once:
                known = await count.wait() or 0
                if by_input and count.tokens is not None:
                    plans = [draw(key, limit_tokens=room, input_tokens=known) for key in keys]
            for key, plan in zip(keys, plans, strict=True):
                again = partial(draw, key, limit_tokens=room, input_tokens=known)
                drafts.append(_Draft(key, prompt, count, plan, again, _most_output(params, plan, room)))
        return drafts

    async def _script(
        self, params: RequestParams, rule: ToolRule, drafts: list[_Draft], context: RequestContext, config: MockConfig
    ) -> None:
        """Make the answers, documents and tool calls of the choices, and adjust their plans. Raises Refusal."""
        for number, draft in enumerate(drafts):
            if (right := solution_of(params, draft.prompt)) is not None:
                own_key = key_of_choice(context.arrival.own_key, number)
                draft.answer = self._answers.answer(right, draft.plan.faults, config.seed, own_key)
                draft.altered = draft.answer.altered
                if draft is drafts[0]:
                    self._answers.begin(id(context), right)
                tool, chance = right.tool, rng.stream(config.seed, "document", draft.key)
                scripted = self._writer.say(draft.answer.text, tool, draft.most, chance)  # Takes 0.1 ms.
                self._fit(draft, scripted, _natural_plan(draft, params), params)
        others = [draft for draft in drafts if draft.answer is None]
        scripts = [(draft, script_of(params, rule, config.seed, draft.key)) for draft in others]
        wanted = [(draft, script) for draft, script in scripts if script is not None]
        if not wanted:
            return
        try:
            await self._intake.counter.in_thread(partial(self._write, wanted, params, config.seed))
        except Impossible as e:
            refusals.refuse(str(e), "tools" if wanted[0][1].calls else "response_format")

    def _write(self, wanted: Sequence[tuple[_Draft, Script]], params: RequestParams, seed: int) -> None:
        for draft, script in wanted:
            plan = _natural_plan(draft, params)
            tokens = max(1, plan.output_tokens - plan.reasoning_tokens)
            self._fit(draft, self._writer.write(script, tokens, draft.most, seed, draft.key), plan, params)

    def _fit(self, draft: _Draft, scripted: Scripted, plan: Plan, params: RequestParams) -> None:
        """Make `scripted` the content of the choice, after its reasoning."""
        scripted = _with_cut(draft, scripted, params)
        reasoning = min(plan.reasoning_tokens, draft.most - len(scripted.texts))
        draft.scripted = scripted
        draft.scripted_ids = self._intake.blocks.ids_of(params, scripted)
        draft.plan = scripted_choice(
            draft.draw(exact_tokens=reasoning + len(scripted.texts)), [""] * reasoning, scripted
        ).plan

    def _begin(
        self,
        params: RequestParams,
        drafts: list[_Draft],
        endpoint: Endpoint,
        context: RequestContext,
        version: ConfigVersion,
    ) -> None:
        intake, config = self._intake, version.config
        choices, works = [], []
        for draft in drafts:
            pieces = self._pieces(draft.plan, config.seed, draft.key)
            choice = self._choice(params, draft, pieces, config.seed)
            if draft is drafts[0] and choice.plan.faults:
                choice = self._answers.disturb(choice, choice.plan.faults, config.seed, context.arrival.own_key)
            # The pieces are the tokens, even if a stop string held back some of their text.
            tokens = choice.plan.output_tokens
            free = tokens - (0 if draft.scripted is None else len(draft.scripted.texts))
            links = intake.blocks.links(draft.count.chain, pieces[:free], draft.scripted_ids[: tokens - free])
            choices.append(choice)
            works.append(EngineRequest(context.received_ns, choice.plan, draft.count.tokens, links, params.priority))
        if drafts[0].answer is None:
            self._answers.begin_other(id(context), choices[0].texts)
        self._send(params, choices, works, endpoint, context, version)

    def begin_text(
        self, params: RequestParams, plan: Plan, endpoint: Endpoint, context: RequestContext, version: ConfigVersion
    ) -> None:
        """Hand a request to the engine whose reply is text in one choice."""
        intake, count = self._intake, context.count
        assert count is not None
        pieces = self._pieces(plan, version.config.seed, context.arrival.key)
        links = intake.blocks.links(count.chain, pieces)
        work = EngineRequest(context.received_ns, plan, count.tokens, links, params.priority)
        self._send(params, [text_choice(params, plan, pieces)], [work], endpoint, context, version)

    def _send(
        self,
        params: RequestParams,
        choices: Sequence[Choice],
        works: Sequence[EngineRequest],
        endpoint: Endpoint,
        context: RequestContext,
        version: ConfigVersion,
    ) -> None:
        """Hand the choices to the engine and start their reply."""
        intake, config = self._intake, version.config
        assert context.count is not None
        keys = EngineKeys(intake.stepper)
        content = version.style.content_of(
            params, tuple(choices), endpoint, *self._identity(endpoint, context), context.count
        )
        writer = writer_of(content, intake.pacer.now_ns)
        writer.work = keys.work
        reply = reply_of(context.wire, writer, intake.pacer, partial(self._on_end, context, keys))
        # Details of the engine's work are known only when the work is done, not at the start.
        planned = intake.stepper.plans_decide and config.stream_interval == 1 and not version.style.details
        if planned and isinstance(reply, TextReply):
            keys.follow(works[0])
            reply.begin()
            reply.follow(context.received_ns, intake.sender)
            return
        for number, work in enumerate(works):
            take = reply.take if len(works) == 1 else partial(_take_and_release, reply, keys, number)
            keys.admit(work, _by_interval(take, config, work.plan))
        reply.begin()

    def _on_end(self, context: RequestContext, keys: EngineKeys, reply: Reply) -> None:
        self._answers.end(id(context))
        self._intake.on_end(context, keys, reply)

    def _identity(self, endpoint: Endpoint, context: RequestContext) -> tuple[str, int, str]:
        """The id of the reply, its creation time, and the model that it names."""
        asked = context.arrival.id
        reply_id = asked if asked is not None else f"mock-{self._intake.shared.take('replies')}"
        return endpoint.id_prefix + reply_id, utc_seconds(), context.model

    def _pieces(self, plan: Plan, seed: int, key: StreamKey) -> list[str]:
        return self._intake.text.pieces(plan.output_tokens, rng.stream(seed, "text", key))

    def _choice(self, params: RequestParams, draft: _Draft, pieces: list[str], seed: int) -> Choice:
        if draft.scripted is not None:
            reasoning = draft.plan.output_tokens - len(draft.scripted.texts)
            choice = scripted_choice(draft.plan, pieces[:reasoning], draft.scripted)
            choice = choice._replace(altered=draft.altered)
        else:
            choice = text_choice(params, draft.plan, pieces)
        if params.logprobs is not None:
            # For a probe, the logprobs depend on its answer, so a repeated probe gets the same ones.
            right = None if draft.answer is None else draft.answer.right
            chance = rng.stream(seed, "logprobs", draft.key if right is None else right.text)
            tokens = choice.texts if draft.scripted is not None else pieces
            choice = choice._replace(
                tokens=tokens, logprobs=Logprobs(params.logprobs, chance, self._intake.text.pieces)
            )
        if params.echo_prompt and draft.prompt is not None:
            prompt = draft.prompt
            text = prompt if isinstance(prompt, str) else self._intake.tokenizer.decode(prompt)
            choice = choice._replace(echo=text)
        return choice

    async def _count(
        self, params: RequestParams, prompt: str | list[int] | None, config: MockConfig
    ) -> tuple[TokenCount, int]:
        """The count of a prompt, which may be known only later, and an upper bound. Raises Refusal."""
        limit = config.max_model_len
        intake = self._intake
        if isinstance(prompt, list):
            return intake.counter.count_ids(prompt), len(prompt)
        if prompt is not None:
            await intake.check_characters(prompt, limit, params.asked_tokens)
            return intake.counter.count_text(prompt, True, limit), most_tokens(prompt)
        assert params.messages is not None
        check_media(params.messages)
        try:
            text = intake.tokenizer.render_chat(without_media(params.messages), params.tools)
        except SpecError as e:
            refusals.refuse(str(e), "messages")
        await intake.check_characters(text, limit, params.asked_tokens)
        shown = MediaCosts(config.image_tokens, config.audio_tokens, config.video_tokens).of(params.messages)
        count = intake.counter.count_text(text, False, limit)
        if shown:
            count = total_count([count, known_count(shown)])
        return count, most_tokens(text) + shown


def _take_and_release(reply: Reply, keys: EngineKeys, choice: int, tokens: int) -> None:
    """Take tokens for a choice. Once it has ended it leaves the engine, whatever the other choices do."""
    reply.take_of(choice, tokens)
    if reply.has_ended(choice):
        keys.release(choice, reply.tokens_of(choice))


def _by_interval(take: Callable[[int], None], config: MockConfig, plan: Plan) -> Callable[[int], None]:
    """Apply `--stream-interval`: `take` gets several tokens at once."""
    if config.stream_interval == 1:
        return take
    return StreamInterval(take, config.stream_interval, plan.output_tokens)


def _most_output(params: RequestParams, plan: Plan, room: int) -> int:
    """The maximum number of tokens of a reply: `max_tokens` plus what a fault adds, limited by `room`."""
    if params.asked_tokens is None:
        return room
    longer = sum(fault.number("more") for fault in plan.faults if fault.name == "length")
    return min(params.asked_tokens + longer, room)


def _with_cut(draft: _Draft, scripted: Scripted, params: RequestParams) -> Scripted:
    """The tokens of a document or a call, truncated if a fault asks for it. A plain-text answer is never truncated."""
    fault = next((fault for fault in draft.plan.faults if fault.name == "cut_json"), None)
    if fault is None or (params.document is None and scripted.blocks[-1].kind != "tool"):
        return scripted
    cut = cut_json(scripted, fault)
    if cut is not scripted:
        draft.altered |= {"cut_json"}
    return cut


def _natural_plan(draft: _Draft, params: RequestParams) -> Plan:
    """The plan of a reply that ends by itself, as a document or a tool call does: the drawn length, capped at
    `max_tokens`. `ignore_eos`, `min_tokens` and a fault that lengthens the reply ask for more."""
    if params.ignore_eos or any(fault.name == "length" for fault in draft.plan.faults):
        return draft.plan
    plan = draft.draw(ends_itself=True)
    least = min(params.least_tokens, draft.most)
    return plan if plan.output_tokens >= least else draft.draw(exact_tokens=least)


def most_tokens(text: str) -> int:
    """An upper bound for the tokens of a text: each token covers at least one byte."""
    return len(text.encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS
