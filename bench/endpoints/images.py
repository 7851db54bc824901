"""OpenAI's image generation: a prompt in, one image or several out, whole or as a stream with partial images.

`--extra-body '{"stream": true, "partial_images": 2}'` asks for the stream. Its events are megabytes, so nothing of an image
is decoded but its first bytes, which say whether it is one.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints import decoding
from bench.endpoints.event_stream import DONE, cut_off
from bench.endpoints.failure import error_message, error_of, excerpt
from bench.endpoints.inputs import InputsEndpoint, ReplyError, entries_of
from bench.endpoints.interface import EventReader, OtherLine, ParsedReply, Problem, ReadOptions
from bench.endpoints.usage import input_tokens
from bench.records import IMAGE_KIND, Outcome
from bench.workload import InputBatch
from promptset.samples import Sample

_PARTIAL, _COMPLETED = "image_generation.partial_image", "image_generation.completed"
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
"""The first bytes of PNG, JPEG and WebP."""
_LOOKED_AT = 24
"""Characters of Base64 that hold them."""


class Images(InputsEndpoint):
    """`/v1/images/generations`."""

    path = "/images/generations"
    inputs_are = "images"
    input_tokens = "64"
    measures = ("ttfi",)
    fields_of_text = ("stream_options", "max_tokens", "max_completion_tokens", "ignore_eos")
    spoken_by = "a server that makes images"

    def fields(self, sample: Sample) -> dict[str, Any]:
        return {"prompt": sample.prompt}

    def batch(self, body: Mapping[str, Any]) -> InputBatch:
        n = body.get("n")
        return InputBatch(n, n) if type(n) is int and n > 0 else InputBatch(1, 1)

    def check(self, reply: object, options: ReadOptions) -> None:
        """Whether the reply has as many images as were asked for. Raises ReplyError."""
        for number, entry in enumerate(
            entries_of(reply, "data", None if options.batch is None else options.batch.entries)
        ):
            if (problem := _problem(entry)) is not None:
                raise ReplyError(f"data[{number}] {problem}")

    def event_reader(self, options: ReadOptions) -> EventReader:
        return ImageReader(1 if options.batch is None else options.batch.entries)


def _problem(entry: Mapping[str, Any]) -> str | None:
    """Why an entry of a reply, or an event, has no image; None if it has one."""
    if isinstance(entry.get("url"), str) and entry["url"]:
        return None
    encoded = entry.get("b64_json")
    if not isinstance(encoded, str) or not encoded:
        return "has neither b64_json nor url"
    try:
        begin = binascii.a2b_base64(encoded[:_LOOKED_AT], strict_mode=True)
    except (binascii.Error, ValueError) as e:
        return f"has a b64_json that is not Base64 ({e})"
    return None if begin.startswith(_SIGNATURES) else "has an image that is neither PNG nor JPEG nor WebP"


class ImageReader:
    """Reads the events of one stream. It is over when as many images are complete as were asked for."""

    def __init__(self, asked: int) -> None:
        self._asked = asked
        self._kinds: list[str] = []
        self._completed = 0
        self._last: Mapping[str, Any] = {}
        self._error: str | None = None
        self._malformed: str | None = None

    @property
    def tokens_so_far(self) -> int:
        """Images are not counted in tokens."""
        return 0

    @property
    def first_token(self) -> int | None:
        """An image has no tokens."""
        return None

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """The next events; a line `event: error` calls an event an error, whatever it holds."""
        first = len(self._kinds)
        failed = {line.event for line in other_lines if line.line.startswith(b"event:") and b"error" in line.line}
        for number, event in enumerate(events, first):
            if number in failed and self._error is None:
                self._error = error_message(event)
            self._kinds.append(self._kind(event))

    def _kind(self, event: bytes) -> str:
        """The letter of an event, whose image is counted. What follows an event that is not JSON is not read."""
        if self._malformed is not None or event == DONE:
            return "o"
        number = len(self._kinds)
        try:
            row = decoding.loads(event)
        except orjson.JSONDecodeError as e:
            self._malformed = f"event {number} is not JSON ({e}): {excerpt(event)}"
            return "o"
        if not isinstance(row, dict):
            self._malformed = f"event {number} is not a JSON object: {excerpt(event)}"
            return "o"
        if row.get("type") not in (_PARTIAL, _COMPLETED):
            if self._error is None:
                self._error = error_of(row)
            return "o"
        if (problem := _problem(row)) is not None:
            self._malformed = f"event {number} {problem}"
            return "o"
        if row["type"] == _COMPLETED:
            self._completed += 1
            self._last = {"usage": row.get("usage")}
        return IMAGE_KIND

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        tokens, wrong = input_tokens(self._last)
        return ParsedReply(
            chunk_kind="".join(self._kinds),
            input_tokens=tokens,
            usage_contradiction=wrong,
            complete=self._completed >= self._asked,
            problem=self._problem(unfinished),
        )

    def _problem(self, unfinished: bytes) -> Problem | None:
        if self._error is not None:
            return Problem(Outcome.STREAM_ERROR, self._error)
        if self._malformed is not None:
            return Problem(Outcome.MALFORMED, self._malformed)
        if self._completed < self._asked:
            return cut_off(unfinished, f" without {_COMPLETED}")
        return None
