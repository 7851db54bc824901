"""/v1/audio/transcriptions, as OpenAI serves it: takes a form with a WAV file, returns its text, whole or as events.

The text is unrelated to the sound. The prompt tokens are computed from the sound, one per 40 ms. A stream ends with an
event that has the whole text and the usage; there is no `[DONE]`.
"""

from __future__ import annotations

import io
import re
import wave
import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request

from mockserver.clock import NS_PER_S
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, SaidChoice, UsageCounts
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, refuse

_TOKEN_MS = 40
_IDS = 1_000
"""The number of distinct sound tokens."""
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[; ]name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(rb'[; ]filename="([^"]*)"', re.IGNORECASE)
_NOT_HERE = frozenset({"role_early", "role_with_token", "role_absent", "usage_twice"})


def _event(**fields: object) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


class TranscriptFrames(ReplyFrames):
    """The events of one reply."""

    ignores = _NOT_HERE

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        del identity, params
        self._texts: list[str] = []

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        self._texts.append(piece.text)
        return [Event(_event(type="transcript.text.delta", delta=piece.text), "c" if piece.text else "o")]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [Event(_event(type="transcript.text.delta", delta=""), "o")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """The whole text with the usage."""
        fields: dict[str, Any] = {"type": "transcript.text.done", "text": "".join(self._texts), **_usage(usage)}
        return [Event(_event(**fields), "o" if usage is None else "u")]

    def failure(self) -> list[Event]:
        error = {"message": PLANNED_FAILURE, "type": "server_error", "code": None, "param": None}
        return [Event(_event(type="error", error=error), "o")]

    def broken(self) -> Event:
        return Event(b'data: {"type":"transcript.text.delta","del\n\n', "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        (choice,) = choices
        return orjson.dumps({"text": choice.text_of("text"), **_usage(usage)})


def _usage(usage: UsageCounts | None) -> dict[str, Any]:
    if usage is None:
        return {}
    given, made = usage.input_tokens, usage.output_tokens
    details = {"audio_tokens": given, "text_tokens": 0}
    counts = {
        "input_tokens": given,
        "output_tokens": made,
        "total_tokens": given + made,
        "input_token_details": details,
    }
    return {"usage": {"type": "tokens", **counts}}


def _decode(request: Request, body: bytes) -> dict[str, Any]:
    """The fields of a form as strings, with the file as `file`. A repeated field has its last value. Raises Refusal
    (400) if the body is not such a form."""
    kind = request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(kind)
    if "multipart/form-data" not in kind.lower() or boundary is None:
        refuse("The request must be multipart/form-data with a boundary.")
    border = b"--" + boundary[1].encode()
    if not body.startswith(border) or body.rstrip(b"\r\n")[-len(border) - 2 :] != border + b"--":
        refuse("The form does not begin and end with its boundary.")
    fields: dict[str, str] = {}
    file = None
    for part in body[: body.rindex(border)].split(b"\r\n" + border):
        head, _, content = part.removeprefix(border).partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is None:
            continue
        if _FILE_NAME.search(head) is not None:
            file = content
        else:
            fields[name[1].decode("utf-8", "replace")] = content.decode("utf-8", "replace")
    return {**fields, "file": file}


def _parse(row: dict[str, Any]) -> RequestParams:
    """Raises Refusal (400)."""
    if row.get("file") is None:
        refuse("file is required.", "file")
    if row.get("response_format", "json") not in ("json", "verbose_json"):
        refuse("response_format must be json or verbose_json.", "response_format")
    samples, second = _pcm(row["file"])
    step = max(1, second * _TOKEN_MS // 1000)
    return RequestParams(
        stream=row.get("stream") == "true",
        prompt=[zlib.crc32(samples[at : at + step]) % _IDS for at in range(0, len(samples), step)],
        audio_ns=round(len(samples) * NS_PER_S / second),
    )


def _pcm(content: bytes) -> tuple[bytes, int]:
    """The samples of a WAV file, and its bytes per second. Raises Refusal (400)."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            return file.readframes(file.getnframes()), file.getframerate() * file.getsampwidth() * file.getnchannels()
    except (wave.Error, EOFError) as e:
        refuse(f"file must be a WAV file of PCM: {e}", "file")


TRANSCRIPTIONS = Endpoint(
    path="/v1/audio/transcriptions",
    id_prefix="trsc-",
    parse=_parse,
    frames=TranscriptFrames,
    is_chat=False,
    decode=_decode,
)
