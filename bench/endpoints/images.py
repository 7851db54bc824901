"""OpenAI's image generation: a prompt in, one or more images out, whole or as a stream with partial images.

`--extra-body '{"stream": true, "partial_images": 2}'` requests the stream. Its events are megabytes, so only the first
bytes of an image are decoded, which show whether it is one.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import Event
from bench.endpoints.inputs import InputsEndpoint, ReplyError, entries_of
from bench.endpoints.interface import EventReader, ParsedReply, Problem, ReadOptions
from bench.endpoints.typed_events import TypedStream
from bench.endpoints.usage import input_tokens
from bench.records import IMAGE_KIND, Outcome
from bench.workload import InputBatch
from promptset.answers import Answer
from promptset.samples import Sample

_PARTIAL, _COMPLETED = "image_generation.partial_image", "image_generation.completed"
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
"""The first bytes of PNG, JPEG and WebP."""
_LOOKED_AT = 24
"""Base64 characters that hold them."""


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
        """Check that the reply has as many images as requested. Raises ReplyError."""
        for number, entry in enumerate(
            entries_of(reply, "data", None if options.batch is None else options.batch.entries)
        ):
            if (problem := _problem(entry)) is not None:
                raise ReplyError(f"data[{number}] {problem}")

    def event_reader(self, options: ReadOptions) -> EventReader:
        return ImageReader(options)


def _problem(entry: Mapping[str, Any]) -> str | None:
    """Why an entry of a reply, or an event, has no image, or None if it has one."""
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


class ImageReader(TypedStream):
    """Reads the events of one stream. It is over when as many images are complete as were requested."""

    __slots__ = ("_asked", "_completed")

    end = _COMPLETED
    text_type = ""

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(b"\0"), options)
        self._asked = 1 if options.batch is None else options.batch.entries
        self._completed = 0

    def _plain_text(self, event: Event) -> None:
        """No event contains only text."""

    def _take(self, kind: str, event: Event) -> None:
        if kind not in (_PARTIAL, _COMPLETED):
            return
        if (problem := _problem(event)) is not None:
            if self._malformed is None:
                self._malformed = f"event {len(self._kinds)} {problem}"
            return
        self._kinds.append(IMAGE_KIND)
        if kind == _COMPLETED:
            self._completed += 1
            usage = event.get("usage")
            self._usage = usage if isinstance(usage, dict) else None
            self._done = self._completed >= self._asked

    def _answer(self, content: str, reasoning: str) -> Answer:
        return Answer(content=content)

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        problem = super()._problem(unfinished, output_tokens)
        return None if problem is not None and problem.outcome is Outcome.NO_TOKENS else problem

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reply = super().close(unfinished)
        tokens, wrong = input_tokens({"usage": self._usage})
        # Image tokens are not text.
        return ParsedReply(
            chunk_kind=reply.chunk_kind,
            input_tokens=tokens,
            usage_contradiction=wrong,
            complete=reply.complete,
            problem=reply.problem,
        )
