"""Ordinary streamed requests, served without the framework.

Between the bytes of a request and its first token, FastAPI, Starlette, a task and a dozen awaits cost several times as
much as the mock's own work, and in a burst every request waits for the earlier ones. This path serves most requests of
a load: a text stream of OpenAI's two endpoints, with nothing to shape, refuse or wait for.

Rules:
- It answers, counts and records exactly as the application does; tests/virtual/test_mock_plain_requests.py compares them.
- It leaves everything else to the application, before anything is counted: unlisted fields or types, a configuration with
  more than drawn times, every request that is refused. So it has no errors of its own.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import orjson

from mockserver.answers import solution_of_prompt
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.params import RequestParams
from mockserver.engine import Engine
from mockserver.entries import RequestContext
from mockserver.generation import Generation, most_tokens
from mockserver.intake import Intake
from mockserver.plans.plan import Plan, ReplyLength, StreamKey, draw_plan, index_of
from mockserver.replies.wire import Connection, DirectWire
from mockserver.settings import ConfigVersion
from promptset.errors import SpecError
from promptset.probes import solve

ENDPOINTS: dict[bytes, Endpoint] = {endpoint.path.encode(): endpoint for endpoint in (CHAT, COMPLETION)}
"""The supported endpoints, by path."""

_FIELDS = {"model", "stream", "stream_options", "max_tokens", "ignore_eos", "temperature"}
_CHAT_FIELDS = frozenset({*_FIELDS, "messages", "max_completion_tokens"})
_COMPLETION_FIELDS = frozenset({*_FIELDS, "prompt"})
_MESSAGE_FIELDS = {"role", "content"}
_OPTIONS = {"include_usage"}
_REMEMBERED_PLANS = 1000


class PlainRequests:
    """Serves ordinary streamed requests of one process."""

    def __init__(self, intake: Intake, generation: Generation) -> None:
        self._intake = intake
        self._generation = generation
        self._version: ConfigVersion | None = None
        self._open = False
        self._most_bytes = 0
        self._models: tuple[str, ...] = ()
        self._plans: dict[int, Plan] | None = None
        """Plans by requested tokens, if nothing else determines them."""

    def serve(
        self, endpoint: Endpoint, body: bytes, request_id: str | None, connection: Connection, handled_ns: int
    ) -> bool:
        """Serve a request whose bytes are all there. Returns False, without any effect, if it is for the application."""
        intake = self._intake
        version = intake.settings.current
        if version is not self._version:
            self._version, self._open = version, _is_plain(version, intake.engine)
            self._models = version.config.models
            self._most_bytes = int(version.config.max_body_mb * 1_000_000)
            self._plans = {} if version.latencies.constant else None
        config = version.config
        if not self._open or intake.draining or len(body) > self._most_bytes:
            return False
        try:
            row = orjson.loads(body)
        except orjson.JSONDecodeError:
            return False
        params = _params(row, endpoint.is_chat)
        if params is None:
            return False
        model, models = row.get("model"), self._models
        if model is not None and model not in models:
            return False
        if (solve(row["messages"]) if endpoint.is_chat else solution_of_prompt(row["prompt"])) is not None:
            return False  # A probe needs the right answer, not just any text.
        text = self._text(row, endpoint.is_chat)
        limit, asked = config.max_model_len, params.asked_tokens
        if text is None or len(text) > limit - (0 if asked is None else min(asked, limit)):
            return False
        plan = None
        if asked is None:
            if request_id is None:
                return False  # Its plan depends on its arrival number, which must be unique.
            index = index_of(request_id)
            plan = self._plan(version, request_id if index is None else index, asked)
        if most_tokens(text) + (min(asked or 0, limit) if plan is None else plan.output_tokens) > limit:
            return False

        # From here on the request is served.
        received_ns = handled_ns if connection.received_ns is None else connection.received_ns
        intake.clocks[connection.clock] += 1
        arrival = intake.arrivals.identify(request_id)
        context = RequestContext(arrival, received_ns, handled_ns, len(body), DirectWire(connection))
        context.version = version.number
        context.model = models[0] if model is None else model
        context.other_name = context.model != models[0]
        context.plan = plan = self._plan(version, arrival.key, asked) if plan is None else plan
        context.count = intake.counter.count_text(text, not endpoint.is_chat, limit)
        self._generation.begin_text(params, plan, endpoint, context, version)
        return True

    def _text(self, row: dict[str, Any], chat: bool) -> str | None:
        """The text that the model reads. None if the prompt is refused."""
        if not chat:
            prompt: str = row["prompt"]
            return prompt
        try:
            return self._intake.tokenizer.render_chat(row["messages"])
        except SpecError:
            return None

    def _plan(self, version: ConfigVersion, key: StreamKey, asked: int | None) -> Plan:
        plan = None if self._plans is None or asked is None else self._plans.get(asked)
        if plan is None:
            config = version.config
            plan = draw_plan(version.latencies, config.seed, key, ReplyLength(config.max_model_len, asked=asked))
            if self._plans is not None and asked is not None:
                if len(self._plans) >= _REMEMBERED_PLANS:
                    self._plans.clear()
                self._plans[asked] = plan
        return plan


def _is_plain(version: ConfigVersion, engine: Engine) -> bool:
    """Whether this configuration does not affect ordinary replies, and nothing has to be waited for."""
    config, style, latencies = version.config, version.style, version.latencies
    waits = latencies.by_input or engine.needs_input_tokens or engine.block_tokens
    checked = config.api_key or config.cors or config.fault or config.scale is not None
    return not (checked or waits or style.reasons or style.details) and style.finish == "last"


def _params(row: object, chat: bool) -> RequestParams | None:
    """The parameters of an ordinary streamed request except its prompt, which stays in the row. None for any other
    request, including an invalid one."""
    if not isinstance(row, dict) or row.get("stream") is not True:
        return None
    if not row.keys() <= (_CHAT_FIELDS if chat else _COMPLETION_FIELDS):
        return None
    model = row.get("model")
    options = row.get("stream_options")
    usage: Any = False
    if options is not None:
        if not isinstance(options, dict) or not options.keys() <= _OPTIONS:
            return None
        usage = options.get("include_usage", False)
    asked = row.get("max_completion_tokens")
    old = row.get("max_tokens")
    heat = row.get("temperature")
    if (
        not isinstance(usage, bool)
        or not (model is None or isinstance(model, str))
        or not (asked is None or (type(asked) is int and asked >= 1))
        or not (old is None or (type(old) is int and old >= 1))
        or not (heat is None or (type(heat) in (int, float) and math.isfinite(heat) and 0.0 <= heat <= 2.0))
    ):
        return None
    asked = old if asked is None else asked
    if not chat:
        return _ordinary(usage, asked) if isinstance(row.get("prompt"), str) else None
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    for message in messages:
        if not isinstance(message, dict) or message.keys() != _MESSAGE_FIELDS:
            return None
        if not isinstance(message["role"], str) or not isinstance(message["content"], str):
            return None
    return _ordinary(usage, asked)


@lru_cache(maxsize=1024)
def _ordinary(usage: bool, asked: int | None) -> RequestParams:
    return RequestParams(True, usage, False, asked)
