"""The mock's images: valid files, valid requests, and the events of a stream."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from mockserver.dialect.frames import FinishReason, Piece, ReplyIdentity, UsageCounts
from mockserver.dialect.generated_images import ImageFrames, encoded_png, parse, png
from mockserver.dialect.refusals import Refusal

STOP = FinishReason("stop", None)


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (1024, 1024)])
def test_a_png_is_read_by_another_library_and_does_not_compress(size: tuple[int, int]) -> None:
    made = png(*size)
    with Image.open(io.BytesIO(made)) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("PNG", size, "L")
    assert len(made) > size[0] * size[1]
    assert base64.b64decode(encoded_png(*size)) == made


@pytest.mark.parametrize(
    ("row", "tokens", "images", "echo"),
    [
        ({}, 1, 1, {"size": "1024x1024", "url": False}),
        ({"n": 4, "size": "auto", "response_format": "url"}, 4, 4, {"size": "1024x1024", "url": True}),
        ({"stream": True, "size": "64x32"}, 1, 1, {"size": "64x32", "url": False}),
        ({"stream": True, "partial_images": 3}, 4, 1, {"size": "1024x1024", "url": False}),
        ({"partial_images": 3}, 1, 1, {"size": "1024x1024", "url": False}),
        ({"n": 10, "size": "4096x1"}, 10, 10, {"size": "4096x1", "url": False}),
        ({"stream": True, "n": 1, "partial_images": 0, "size": "1x4096"}, 1, 1, {"size": "1x4096", "url": False}),
    ],
)
def test_each_image_of_a_reply_is_a_token_to_the_engine(
    row: dict[str, Any], tokens: int, images: int, echo: dict[str, Any]
) -> None:
    params = parse({"prompt": "a cat", **row})
    assert (params.asked_tokens, params.images, params.echo, params.prompt) == (tokens, images, echo, "a cat")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": ""}, "prompt must be a text."),
        ({"n": 11}, "n must be a whole number from 1 to 10."),
        ({"n": 0}, "n must be a whole number from 1 to 10."),
        ({"n": True}, "n must be a whole number from 1 to 10."),
        ({"partial_images": 4}, "partial_images must be a whole number from 0 to 3."),
        ({"stream": True, "n": 2}, "A stream has one image: leave n out."),
        ({"size": "big"}, "size must be auto or WIDTHxHEIGHT, at most 4096 each."),
        ({"size": "10x4097"}, "size must be auto or WIDTHxHEIGHT, at most 4096 each."),
        ({"size": "5000x10"}, "size must be auto or WIDTHxHEIGHT, at most 4096 each."),
        ({"output_format": "webp"}, "This mock makes PNG alone: leave output_format out."),
        ({"response_format": "file"}, "response_format must be b64_json or url."),
    ],
)
def test_what_it_cannot_make_is_refused(row: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse({"prompt": "a cat", **row})
    assert json.loads(caught.value.body)["error"]["message"] == words


def frames_of(**row: Any) -> ImageFrames:
    return ImageFrames(ReplyIdentity("img-1", 5, "m"), parse({"prompt": "a", "size": "8x8", **row}))


def data_of(frame: bytes) -> Any:
    name, data = frame.decode().rstrip("\n").split("\n")
    row = json.loads(data.removeprefix("data: "))
    assert name == f"event: {row['type']}"
    return row


def test_a_stream_has_partial_images_and_ends_with_the_image_and_usage() -> None:
    frames = frames_of(stream=True, partial_images=2)
    pieces = [Piece("x", "text", first=True), Piece("y", "text"), Piece("z", "text", last=True)]
    events = [event for piece in pieces for event in frames.piece(piece, None)]
    events += frames.closing([STOP], UsageCounts(7, 3))
    assert [event.kind for event in events] == ["i", "i", "i"]
    rows = [data_of(event.frame) for event in events]
    assert [row["type"].removeprefix("image_generation.") for row in rows] == [
        "partial_image",
        "partial_image",
        "completed",
    ]
    assert [row.get("partial_image_index") for row in rows] == [0, 1, None]
    assert {row["b64_json"] for row in rows} == {encoded_png(8, 8)}
    assert (rows[-1]["usage"]["input_tokens"], rows[-1]["usage"]["total_tokens"]) == (7, 10)
    assert "usage" not in data_of(frames.closing([STOP], None)[0].frame)


def test_a_whole_reply_has_all_images_or_their_addresses() -> None:
    row = json.loads(frames_of(n=2).whole([], UsageCounts(7, 2)))
    assert row["data"] == [{"b64_json": encoded_png(8, 8)}] * 2
    assert row["usage"]["input_tokens_details"] == {"text_tokens": 7, "image_tokens": 0}
    row = json.loads(frames_of(n=2, response_format="url").whole([], None))
    assert [one["url"] for one in row["data"]] == [f"https://images.invalid/img-1-{n}.png" for n in range(2)]
    assert "usage" not in row
