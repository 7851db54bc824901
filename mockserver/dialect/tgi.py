"""Text Generation Inference's /generate_stream and /generate: one event per token; the last has the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, SaidChoice, UsageCounts
from mockserver.dialect.ollama import refused
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, refuse

_NOT_HERE = frozenset({"keepalive", "role_early", "role_with_token", "role_absent", "usage_twice"})
_ERROR = orjson.dumps({"error": PLANNED_FAILURE, "error_type": "generation"})


def _event(fields: dict[str, Any]) -> bytes:
    return b"data:" + orjson.dumps(fields) + b"\n\n"


class TgiFrames(ReplyFrames):
    """The events of one reply. The last token is held back and sent in the closing event."""

    ignores = _NOT_HERE

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        del identity, params
        self._texts: list[str] = []
        self._last: Piece | None = None

    def _token(self, text: str, **end: object) -> dict[str, object]:
        self._texts.append(text)
        number = len(self._texts)
        token = {"id": number, "text": text, "logprob": -0.5, "special": False}
        return {"index": number, "token": token, "generated_text": None, "details": None, **end}

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """One event. The last token has none here: it is sent with the end."""
        if piece.last:
            self._last = piece
            return []
        return [Event(_event(self._token(piece.text)), "c" if piece.text else "o")]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [Event(_event(self._token("")), "o")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """The last token, with the whole text and the details."""
        text = "" if self._last is None else self._last.text
        fields = self._token(text)
        fields |= {"generated_text": "".join(self._texts), "details": _details(ends[0], usage)}
        return [Event(_event(fields), "c" if text else "o" if usage is None else "u")]

    def failure(self) -> list[Event]:
        return [Event(b"data:" + _ERROR + b"\n\n", "o")]

    def broken(self) -> Event:
        return Event(b'data:{"index":1,"token":{"id":1,"te\n\n', "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        (choice,) = choices
        return orjson.dumps({"generated_text": choice.text_of("text"), "details": _details(choice.end, usage)})

    def failure_body(self) -> bytes:
        return _ERROR


def _details(end: FinishReason, usage: UsageCounts | None) -> dict[str, Any]:
    reason = "stop_sequence" if end.stop is not None else "length" if end.reason == "length" else "eos_token"
    counts = {} if usage is None else {"generated_tokens": usage.output_tokens, "input_length": usage.input_tokens}
    return {"finish_reason": reason, **counts, "seed": None}


def parse(row: dict[str, Any], *, stream: bool) -> RequestParams:
    """A body of either path. Raises Refusal (400)."""
    if not isinstance(row.get("inputs"), str):
        refuse("inputs must be a text.", "inputs")
    value = row.get("parameters")
    if value is not None and not isinstance(value, dict):
        refuse("parameters must be an object.", "parameters")
    parameters: dict[str, Any] = value or {}
    asked = parameters.get("max_new_tokens")
    if asked is not None and (type(asked) is not int or asked < 1):
        refuse("max_new_tokens must be a whole number of at least 1.", "max_new_tokens")
    stops = parameters.get("stop") or []
    if not isinstance(stops, list) or not all(isinstance(text, str) and text for text in stops):
        refuse("stop must be a list of texts.", "stop")
    return RequestParams(stream=stream, asked_tokens=asked, prompt=row["inputs"], stop=tuple(stops))


def _endpoint(path: str, *, stream: bool) -> Endpoint:
    return Endpoint(
        path=path,
        id_prefix="tgi-",
        parse=partial(parse, stream=stream),
        frames=TgiFrames,
        is_chat=False,
        refused=refused,
    )


TGI_STREAM, TGI = _endpoint("/generate_stream", stream=True), _endpoint("/generate", stream=False)
