"""/v1/audio/speech, as OpenAI serves it: sound for a text, streamed as the bytes of a file or as events.

The sound is noise. Each token of the engine is 80 ms of it, 16-bit mono at 24,000 samples a second: the TTFT is the
time to the first audio, the TPOT the time per 80 ms. `wav` begins with a header that states no length; `pcm` has no
header.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from hashlib import shake_256
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, UsageCounts
from mockserver.dialect.params import RequestParams, Speech
from mockserver.dialect.refusals import PLANNED_FAILURE, refuse

RATE = 24_000
BYTES_PER_S = 2 * RATE
TOKEN_BYTES = BYTES_PER_S * 80 // 1000
_MOST_TOKENS = 64
_NOISE = shake_256(b"speech").digest(TOKEN_BYTES * _MOST_TOKENS)
_ENDLESS = 0xFFFFFFFF
_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", _ENDLESS, b"WAVE", b"fmt ", 16, 1, 1, RATE, BYTES_PER_S, 2, 16, b"data", _ENDLESS
)
_OF_TEXT = frozenset({
    "role_early", "role_with_token", "role_absent", "u2028", "split_utf8", "empty", "duplicate", "reorder", "usage_twice",
})  # fmt: skip
_OF_EVENTS = frozenset({
    "error_in_stream", "malformed", "no_done", "usage_missing", "usage_wrong", "crlf", "cr", "comments", "keepalive", "split",
    "trickle",
})  # fmt: skip
_MEDIA = {"wav": "audio/wav", "pcm": "audio/pcm"}


def sound_of(tokens: int) -> bytes:
    """The noise of some tokens."""
    whole, rest = divmod(tokens, _MOST_TOKENS)
    return _NOISE * whole + _NOISE[: rest * TOKEN_BYTES]


class SpeechFrames(ReplyFrames):
    """The pieces of one reply."""

    has_role = True

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        del identity
        assert params.speech is not None
        self._asked = params.speech
        self.ignores = _OF_TEXT if params.speech.events else _OF_TEXT | _OF_EVENTS

    def _piece(self, content: bytes, kind: str) -> Event:
        if not self._asked.events:
            return Event(content, kind)
        return Event(_event(type="speech.audio.delta", audio=base64.b64encode(content).decode()), kind)

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        return [self._piece(_HEADER, "o")] if self._asked.kind == "wav" else []

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """The sound of some tokens."""
        return [self._piece(sound_of(piece.tokens), "a")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """The end of the stream. Events carry the usage."""
        if not self._asked.events:
            return [Event(b"", "o")]
        counts: dict[str, Any] = {}
        if usage is not None:
            given, made = usage.input_tokens, usage.output_tokens
            counts = {"usage": {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}}
        return [Event(_event(type="speech.audio.done", **counts), "u" if counts else "o")]

    def failure(self) -> list[Event]:
        error = {"message": PLANNED_FAILURE, "type": "server_error", "code": None, "param": None}
        return [Event(_event(type="error", error=error), "o")]

    def broken(self) -> Event:
        return Event(b'data: {"type":"speech.audio.delta","au\n\n', "o")


def _event(**fields: object) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def _parse(row: dict[str, Any]) -> RequestParams:
    """Raises Refusal (400)."""
    text, kind, events = row.get("input"), row.get("response_format", "mp3"), row.get("stream_format", "audio")
    if not isinstance(text, str) or not text:
        refuse("input must be a text, and not empty.", "input")
    if not isinstance(row.get("voice"), str):
        refuse("voice must name a voice.", "voice")
    if kind not in _MEDIA:
        refuse(
            f"response_format must be one of {', '.join(_MEDIA)}: this server has no encoder for others.",
            "response_format",
        )
    if events not in ("audio", "sse"):
        refuse("stream_format must be audio or sse.", "stream_format")
    as_events = events == "sse"
    return RequestParams(
        stream=True,
        include_usage=as_events,
        prompt=text,
        speech=Speech(kind, events=as_events, media=None if as_events else _MEDIA[kind]),
    )


SPEECH = Endpoint(path="/v1/audio/speech", id_prefix="speech-", parse=_parse, frames=SpeechFrames, is_chat=False)
