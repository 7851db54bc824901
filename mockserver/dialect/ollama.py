"""Ollama's /api/chat and /api/generate: lines of JSON. The last has the usage and the finish reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, SaidChoice, UsageCounts
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, Refusal, refuse

LINES = "application/x-ndjson"
_NOT_OF_LINES = frozenset(
    {"comments", "keepalive", "cr", "role_early", "role_with_token", "role_absent", "usage_twice"}
)
"""Faults that need server-sent events, roles, or a separate usage event."""
_ERROR = orjson.dumps({"error": PLANNED_FAILURE})


def _line(fields: bytes) -> bytes:
    return fields + b"\n"


class OllamaFrames(ReplyFrames):
    """The lines of one reply. `chat`: the text is in a message."""

    ignores = _NOT_OF_LINES

    def __init__(self, identity: ReplyIdentity, params: RequestParams, *, chat: bool) -> None:
        del params
        self._chat = chat
        created = datetime.fromtimestamp(identity.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._head = orjson.dumps({"model": identity.model, "created_at": created})[:-1]
        self._before = self._head + (b',"message":{"role":"assistant","content":' if chat else b',"response":')
        self._after = (b"}" if chat else b"") + b',"done":false}\n'

    def around(self, running: bool) -> tuple[bytes, bytes]:
        return self._before, self._after

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """A line of text or reasoning."""
        if piece.kind == "reasoning":
            thought = {"role": "assistant", "content": "", "thinking": piece.text}
            fields = {"message": thought} if self._chat else {"response": "", "thinking": piece.text}
            return [Event(_line(self._head + b"," + orjson.dumps({**fields, "done": False})[1:]), "t")]
        return [Event(self._before + orjson.dumps(piece.text) + self._after, "c" if piece.text else "o")]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [Event(self._before + b'""' + self._after, "o")]

    def _end(self, end: FinishReason, usage: UsageCounts | None) -> dict[str, Any]:
        reason = "length" if end.reason == "length" else "stop"
        counts = {} if usage is None else {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
        return {"done": True, "done_reason": reason, **counts}

    def _said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        fields = {**self._said(""), **self._end(ends[0], usage)}
        return [Event(_line(self._head + b"," + orjson.dumps(fields)[1:]), "o" if usage is None else "u")]

    def failure(self) -> list[Event]:
        return [Event(_line(_ERROR), "o")]

    def broken(self) -> Event:
        return Event(_line(self._before + b'"te'), "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        (choice,) = choices
        row = self._said(choice.text_of("text"))
        if thought := choice.text_of("reasoning"):
            (row["message"] if self._chat else row)["thinking"] = thought
        return self._head + b"," + orjson.dumps({**row, **self._end(choice.end, usage)})[1:]

    def failure_body(self) -> bytes:
        return _ERROR


def _common(row: dict[str, Any]) -> dict[str, Any]:
    options = row.get("options")
    if options is not None and not isinstance(options, dict):
        refuse("options must be an object.", "options")
    asked = (options or {}).get("num_predict")
    if asked is not None and type(asked) is not int:
        refuse("num_predict must be a whole number.", "num_predict")
    stop = (options or {}).get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) and text for text in stops):
        refuse("stop must be texts.", "stop")
    return {
        "stream": row.get("stream") is not False,
        "asked_tokens": asked if asked is not None and asked > 0 else None,
        "stop": tuple(stops),
    }


def parse_chat(row: dict[str, Any]) -> RequestParams:
    """A body of /api/chat. Raises Refusal (400)."""
    messages = row.get("messages")
    right = isinstance(messages, list) and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages)
    if not right or not messages:
        refuse("messages must be a list of objects with a role.", "messages")
    return RequestParams(messages=messages, **_common(row))


def parse_generate(row: dict[str, Any]) -> RequestParams:
    """A body of /api/generate. Raises Refusal (400)."""
    if not isinstance(row.get("prompt"), str):
        refuse("prompt must be a text.", "prompt")
    return RequestParams(prompt=row["prompt"], **_common(row))


def refused(refusal: Refusal) -> Refusal:
    """A refusal in the format of Ollama and Text Generation Inference: `error` is a string."""
    body = orjson.dumps({"error": refusal.message or "The request was refused."})
    return Refusal(refusal.status, body, refusal.headers, message=refusal.message)


OLLAMA_CHAT = Endpoint(
    path="/api/chat",
    id_prefix="ollama-",
    parse=parse_chat,
    frames=partial(OllamaFrames, chat=True),
    is_chat=True,
    media=LINES,
    refused=refused,
)
OLLAMA_GENERATE = Endpoint(
    path="/api/generate",
    id_prefix="ollama-",
    parse=parse_generate,
    frames=partial(OllamaFrames, chat=False),
    is_chat=False,
    media=LINES,
    refused=refused,
)
