"""Images, audio and video in a conversation: validation, as far as a reply depends on it, and their cost in tokens."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

from mockserver.dialect.refusals import refuse
from promptset.media import kind_of, media_in

_FORMATS = {"wav": (b"RIFF",), "mp3": (b"ID3", b"\xff")}
"""Formats of `input_audio`, and the first bytes of their files."""
_LOOKED_AT = 8
"""Base64 characters that cover these first bytes."""


@dataclass(frozen=True, slots=True)
class MediaCosts:
    """The input tokens of an image, an audio clip and a video."""

    image: int
    audio: int
    video: int

    def of(self, messages: list[dict[str, Any]]) -> int:
        """The tokens of all images, audio clips and videos in messages."""
        return sum(getattr(self, str(kind_of(part))) for part in media_in(messages))


def check_media(messages: list[dict[str, Any]]) -> None:
    """Raises Refusal (400) for an audio clip or video that no server could read. Images are not checked."""
    for part in media_in(messages):
        if part["type"] == "input_audio":
            _check_audio(part.get("input_audio"))
        elif part["type"] in ("audio_url", "video_url"):
            _check_url(part["type"], part.get(part["type"]))


def _check_audio(audio: object) -> None:
    audio = audio if isinstance(audio, dict) else {}
    begins = _FORMATS.get(str(audio.get("format")))
    if begins is None:
        refuse("input_audio.format must be wav or mp3.", "messages")
    data = audio.get("data")
    if not isinstance(data, str) or not _decoded(data).startswith(begins):
        refuse(f"input_audio.data must be the Base64 of a {audio['format']} file.", "messages")


def _check_url(name: str, value: object) -> None:
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:")):
        refuse(f"{name}.url must be an address, or data: with the file in it.", "messages")
    kind, head, data = name.removesuffix("_url"), *url.partition(",")[::2]
    if head.startswith("data:") and not (
        head.startswith(f"data:{kind}/") and head.endswith(";base64") and _decoded(data)
    ):
        refuse(f"{name}.url must have the form data:{kind}/...;base64,... with a file in it.", "messages")


def _decoded(data: str) -> bytes:
    """The first bytes of Base64. Empty if it is not Base64."""
    try:
        return binascii.a2b_base64(data[:_LOOKED_AT], strict_mode=True)
    except (binascii.Error, ValueError):
        return b""
