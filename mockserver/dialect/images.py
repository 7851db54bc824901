"""Images in a conversation: they are accepted and cost tokens, and nothing looks at them."""

from __future__ import annotations

from typing import Any

_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


def without_images(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The messages with their text alone, and the number of images in them."""
    images = 0
    kept: list[dict[str, Any]] = []
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            kept.append(message)
            continue
        parts = [part for part in content if not _is_image(part)]
        images += len(content) - len(parts)
        kept.append(message if len(parts) == len(content) else {**message, "content": parts if parts else ""})
    return kept, images


def _is_image(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in _IMAGE_PARTS
