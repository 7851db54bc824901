"""/tokenize, /detokenize and /v1/messages/count_tokens, as in vLLM.

{"prompt": text, "add_special_tokens": true, "return_token_strs": false}
{"messages": [...], "add_generation_prompt": true, "add_special_tokens": false, "tools": [...], "return_token_strs": false}
{"tokens": [ids]}  ->  {"prompt": text}
{"model": name, "messages": [...], "system": text, "tools": [...]}  ->  {"input_tokens": n}
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockserver.dialect import openai, refusals
from mockserver.dialect.body import MAX_BODY_FLAG, read_body
from mockserver.dialect.media import MediaCosts
from mockserver.dialect.messages import refused, require_either_key
from mockserver.dialect.messages_request import parse_prompt
from mockserver.dialect.refusals import Refusal
from mockserver.http.routes import JSON, route
from mockserver.worker import Worker
from promptset.errors import SpecError
from promptset.media import without_media
from promptset.tokens import Tokenizer


def routes_of_tokenization() -> list[Route]:
    """The routes."""
    handlers = {
        "/tokenize": _tokenize, "/detokenize": _detokenize, "/v1/messages/count_tokens": _count_tokens,
    }  # fmt: skip
    return [route("POST", path, handler) for path, handler in handlers.items()]


async def _tokenize(request: Request) -> Response:
    worker, row = await _asked(request)
    text, special = _text(worker.tokenizer, row)
    await worker.check_length(text)
    ids = await worker.in_thread(lambda: worker.tokenizer.encode(text, add_special_tokens=special))
    strings = worker.tokenizer.token_strings(ids) if _flag(row, "return_token_strs", False) else None
    limit = worker.config.max_model_len
    return _json({"count": len(ids), "max_model_len": limit, "tokens": ids, "token_strs": strings})


async def _detokenize(request: Request) -> Response:
    worker, row = await _asked(request)
    ids = row.get("tokens")
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < 2**32 for i in ids):
        refusals.refuse("tokens must be a list of token ids.", "tokens")
    if len(ids) > worker.config.max_model_len:
        raise openai.context_refusal(worker.config.max_model_len, len(ids), 0)
    return _json({"prompt": await worker.in_thread(lambda: worker.tokenizer.decode(ids))})


async def _count_tokens(request: Request) -> Response:
    try:
        return await _count_messages(request)
    except Refusal as e:
        raise refused(e) from e


async def _count_messages(request: Request) -> Response:
    require_either_key(request, request.app.state.worker.config)
    worker, row = await _asked(request)
    prompt = parse_prompt(row)
    text = _rendered(worker.tokenizer, prompt.messages or [], prompt.tools)
    await worker.check_length(text)
    config = worker.config
    shown = MediaCosts(config.image_tokens, config.audio_tokens, config.video_tokens).of(prompt.messages or [])
    tokens = shown + await worker.in_thread(lambda: worker.tokenizer.count_plain([text])[0])
    return _json({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}})


async def _asked(request: Request) -> tuple[Worker, dict[str, Any]]:
    worker: Worker = request.app.state.worker
    return worker, openai.parse_body(
        await read_body(request, worker.config.max_body_mb, MAX_BODY_FLAG), *worker.config.models
    )


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type=JSON)


def _flag(row: dict[str, Any], name: str, default: bool) -> bool:
    value = row.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        refusals.refuse(f"{name} must be true or false.", name)
    return value


def _text(tokenizer: Tokenizer, row: dict[str, Any]) -> tuple[str, bool]:
    """A prompt, or messages rendered with the chat template, and whether to add special tokens. Raises Refusal (400)."""
    if "messages" not in row:
        prompt = row.get("prompt")
        if not isinstance(prompt, str):
            refusals.refuse("prompt must be a text (or give messages).", "prompt")
        return prompt, _flag(row, "add_special_tokens", True)
    messages = openai.parse_chat({"messages": row["messages"]}).messages
    assert messages is not None
    tools = row.get("tools")
    if tools is not None and not isinstance(tools, list):
        refusals.refuse("tools must be a list.", "tools")
    text = _rendered(tokenizer, messages, tools, _flag(row, "add_generation_prompt", True))
    # The template adds its own special tokens.
    return text, _flag(row, "add_special_tokens", False)


def _rendered(
    tokenizer: Tokenizer, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, generation: bool = True
) -> str:
    """Messages rendered with the chat template. Raises Refusal (400)."""
    try:
        return tokenizer.render_chat(without_media(messages), tools, add_generation_prompt=generation)
    except SpecError as e:
        refusals.refuse(str(e), "messages")
