"""Images, audio and video in chats: message parts other than text, in the formats of OpenAI and Anthropic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_KINDS = {
    "image_url": "image", "input_image": "image", "image": "image", "input_audio": "audio", "audio_url": "audio",
    "video_url": "video", "input_video": "video",
}  # fmt: skip
"""The part types, and their kinds."""


def kind_of(part: object) -> str | None:
    """`image`, `audio` or `video`. None for any other part."""
    return _KINDS.get(str(part.get("type"))) if isinstance(part, dict) else None


def media_in(messages: object) -> Iterator[Mapping[str, Any]]:
    """The parts of messages that are images, audio or video."""
    for message in messages if isinstance(messages, list | tuple) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from (part for part in content if kind_of(part) is not None)


def has_media(messages: object) -> bool:
    """Whether messages contain anything but text, whose tokens only the server can count."""
    return next(media_in(messages), None) is not None


def media_bytes(messages: object) -> int | None:
    """The bytes of all images, audio and video in messages, before Base64; a part given by a URL counts 0. None if
    there are none."""
    sizes = [_size(part) for part in media_in(messages)]
    return sum(sizes) if sizes else None


def without_media(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with only their text."""
    result = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            parts = [part for part in content if kind_of(part) is None]
            message = message if len(parts) == len(content) else {**message, "content": parts if parts else ""}
        result.append(message)
    return result


def encoded_in(part: Mapping[str, Any]) -> str | None:
    """The Base64 data of a part. None if the part is a URL, or has neither."""
    content = next((part[key] for key in (str(part.get("type")), "image_url", "source") if key in part), None)
    if isinstance(content, dict):
        if isinstance(data := content.get("data"), str):
            return data
        content = content.get("url")
    if not isinstance(content, str) or not content.startswith("data:"):
        return None
    return content.partition(",")[2]


def _size(part: Mapping[str, Any]) -> int:
    encoded = encoded_in(part)
    return 0 if encoded is None else len(encoded.rstrip("=")) * 3 // 4
