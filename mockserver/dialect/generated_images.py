"""OpenAI's /v1/images/generations: PNGs in one body, or a stream with partial images.

To the engine, each image that the reply sends is one token: the first, partial or not, comes after TTFT, and each
further one after a TPOT.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_256
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, SaidChoice, UsageCounts
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, error_body, refuse

_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})")
_USUAL_SIZE = "1024x1024"
MOST_IMAGES, MOST_PARTIAL, MOST_EDGE = 10, 3, 4096
_ERROR = orjson.loads(error_body(500, PLANNED_FAILURE))


class ImageFrames(ReplyFrames):
    """The events and the body of one reply. The last token is the final image, which ends the stream."""

    ignores = frozenset({
        "role_early", "role_with_token", "role_absent", "usage_twice", "empty", "u2028", "split_utf8",
    })  # fmt: skip

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        self._created = identity.created
        self._id = identity.id
        self._size: str = params.echo["size"]
        self._by_url: bool = params.echo["url"]
        self._images = 1 if params.images is None else params.images
        self._partial = 0

    def _event(self, kind: str, **fields: object) -> Event:
        """`kind` is `partial_image` or `completed`."""
        name = f"image_generation.{kind}"
        row = {
            "type": name, "b64_json": self._png(), "created_at": self._created, "size": self._size, "quality": "auto",
            "background": "opaque", "output_format": "png", **fields,
        }  # fmt: skip
        return Event(b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(row)), "i")

    def _png(self) -> str:
        width, height = self._size.split("x")
        return encoded_png(int(width), int(height))

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """A partial image. The last token has no event here: it is the final image."""
        if piece.last:
            return []
        self._partial += 1
        return [self._event("partial_image", partial_image_index=self._partial - 1)]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """The final image, with usage."""
        return [self._event("completed", **({} if usage is None else {"usage": _usage(usage)}))]

    def failure(self) -> list[Event]:
        return [Event(b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", **_ERROR}), "o")]

    def broken(self) -> Event:
        return Event(b'event: image_generation.partial_image\ndata: {"type":"image_gener\n\n', "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        if self._by_url:
            data = [{"url": f"https://images.invalid/{self._id}-{number}.png"} for number in range(self._images)]
        else:
            data = [{"b64_json": self._png()}] * self._images
        row: dict[str, Any] = {"created": self._created, "data": data, "size": self._size, "output_format": "png"}
        if usage is not None:
            row["usage"] = _usage(usage)
        return orjson.dumps(row)


def _usage(usage: UsageCounts) -> dict[str, Any]:
    given, made = usage.input_tokens, usage.output_tokens
    details = {"text_tokens": given, "image_tokens": 0}
    return {
        "input_tokens": given, "output_tokens": made, "total_tokens": given + made, "input_tokens_details": details,
    }  # fmt: skip


def _number(row: dict[str, Any], name: str, least: int, most: int, usual: int) -> int:
    value = row.get(name)
    if value is None:
        return usual
    if type(value) is not int or not least <= value <= most:
        refuse(f"{name} must be a whole number from {least} to {most}.", name)
    return value


def parse(row: dict[str, Any]) -> RequestParams:
    """A request for images. Raises Refusal (400)."""
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        refuse("prompt must be a text.", "prompt")
    stream = row.get("stream") is True
    n = _number(row, "n", 1, MOST_IMAGES, 1)
    partial = _number(row, "partial_images", 0, MOST_PARTIAL, 0)
    if stream and n > 1:
        refuse("A stream has one image: leave n out.", "n")
    size = row.get("size")
    size = _USUAL_SIZE if size in (None, "auto") else size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None or max(int(match[1]), int(match[2])) > MOST_EDGE:
        refuse(f"size must be auto or WIDTHxHEIGHT, at most {MOST_EDGE} each.", "size")
    if row.get("output_format", "png") != "png":
        refuse("This mock makes PNG alone: leave output_format out.", "output_format")
    if row.get("response_format", "b64_json") not in ("b64_json", "url"):
        refuse("response_format must be b64_json or url.", "response_format")
    return RequestParams(
        stream=stream,
        asked_tokens=partial + 1 if stream else n,
        prompt=prompt,
        images=n,
        echo={"size": size, "url": row.get("response_format") == "url"},
    )


GENERATED_IMAGES = Endpoint(
    path="/v1/images/generations", id_prefix="img-", parse=parse, frames=ImageFrames, is_chat=False
)


def png(width: int, height: int) -> bytes:
    """A PNG of 8-bit grey noise, the same for each size. Noise does not compress, so the file is as large as a photo."""
    noise = shake_256(f"{width}x{height}".encode()).digest(width * height)
    rows = b"".join(b"\0" + noise[start : start + width] for start in range(0, len(noise), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@lru_cache(maxsize=8)
def encoded_png(width: int, height: int) -> str:
    """`png` in Base64. Each size is encoded once: a megabyte takes 10 ms, during which nothing else is sent."""
    return base64.b64encode(png(width, height)).decode()
