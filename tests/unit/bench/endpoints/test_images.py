"""Image generation: what is sent, and which whole replies and streams succeed."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from bench.config import resolve
from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.interface import BodyOptions, OtherLine, ReadOptions
from bench.errors import UsageError
from bench.load.components import source_of
from bench.records import Outcome
from bench.workload import InputBatch
from promptset.samples import Sample
from tests.support.dialect_streams import read

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(30)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(30)).decode()
WEBP = base64.b64encode(b"RIFF\x10\0\0\0WEBPVP8 " + bytes(30)).decode()
IMAGES = ENDPOINTS["images"]
USAGE = {"input_tokens": 7, "output_tokens": 9, "total_tokens": 16}


def event(kind: str, image: object = PNG, **more: object) -> bytes:
    return orjson.dumps({"type": f"image_generation.{kind}", "b64_json": image, **more})


PARTIAL, COMPLETED = event("partial_image", partial_image_index=0), event("completed", usage=USAGE)


@pytest.mark.parametrize(
    ("extra", "body", "stream", "images"),
    [
        (None, {"prompt": "a cat", "model": "m"}, False, 1),
        ({"n": 3, "size": "64x64"}, {"prompt": "a cat", "model": "m", "n": 3, "size": "64x64"}, False, 3),
        ({"stream": True, "partial_images": 2}, {"prompt": "a cat", "model": "m", "stream": True, "partial_images": 2},
         True, 1),
        ({"n": 0}, {"prompt": "a cat", "model": "m", "n": 0}, False, 1),
    ],
)  # fmt: skip
def test_a_prompt_becomes_a_body_and_the_fields_of_the_run_say_whether_it_streams(
    extra: dict[str, Any] | None, body: dict[str, Any], stream: bool, images: int
) -> None:
    options = BodyOptions(endpoint="images", model="m", stream=False, extra=extra)
    encoded = encode(Sample(prompt="a cat", output_tokens=9), options)
    assert orjson.loads(encoded.body) == body
    assert (encoded.stream, encoded.batch, encoded.output_tokens_asked) == (stream, InputBatch(images, images), None)


@pytest.mark.parametrize("entry", [{"b64_json": PNG}, {"b64_json": JPEG}, {"b64_json": WEBP}, {"url": "https://h/a"}])
def test_a_whole_reply_has_as_many_images_as_were_asked_for(entry: dict[str, str]) -> None:
    reply = IMAGES.read_whole(
        orjson.dumps({"created": 1, "data": [entry, entry], "usage": USAGE}), ReadOptions(batch=InputBatch(2, 2))
    )
    assert (reply.problem, reply.complete, reply.input_tokens) == (None, True, 7)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "a reply without data"),
        ([], "the reply has 0 data, but 1 were requested"),
        ([5], "data[0] is not a JSON object"),
        ([{}], "data[0] has neither b64_json nor url"),
        ([{"url": ""}], "data[0] has neither b64_json nor url"),
        ([{"b64_json": "%%%%"}], "data[0] has a b64_json that is not Base64"),
        ([{"b64_json": "aGVsbG8gd29ybGQh"}], "data[0] has an image that is neither PNG nor JPEG nor WebP"),
    ],
)
def test_a_whole_reply_without_its_images_is_malformed(data: object, words: str) -> None:
    reply = IMAGES.read_whole(orjson.dumps({"data": data}), ReadOptions(batch=InputBatch(1, 1)))
    assert reply.problem is not None
    assert reply.problem.outcome is Outcome.MALFORMED
    assert words in reply.problem.message


STREAMS: list[tuple[str, list[bytes], str, Outcome | None, str]] = [
    ("partial images and the image", [PARTIAL, PARTIAL, COMPLETED], "iii", None, ""),
    ("the image alone", [COMPLETED], "i", None, ""),
    ("an event of tomorrow", [PARTIAL, b'{"type":"image_generation.new"}', COMPLETED, b"[DONE]"], "ioio", None, ""),
    ("no image", [PARTIAL], "i", Outcome.TRUNCATED, "without image_generation.completed"),
    ("nothing", [], "", Outcome.TRUNCATED, "without image_generation.completed"),
    ("an error", [PARTIAL, b'{"type":"error","error":{"message":"busy"}}'], "io", Outcome.STREAM_ERROR, "busy"),
    ("what is no JSON", [b'{"type":"ima', COMPLETED], "oo", Outcome.MALFORMED, "event 0 is not JSON"),
    ("what is no object", [b"[]"], "o", Outcome.MALFORMED, "event 0 is not a JSON object"),
    ("no image in the event", [PARTIAL, event("completed", "")], "io", Outcome.MALFORMED, "event 1 has neither"),
    ("an image too many", [COMPLETED, COMPLETED], "ii", Outcome.MALFORMED, "event 1 comes after image_generation.com"),
    ("no type", [b'{"b64_json":""}'], "o", Outcome.MALFORMED, "event 0 is not an event of a reply: it has no type"),
    ("another file", [event("completed", "aGVsbG8gd29ybGQh")], "o", Outcome.MALFORMED, "event 0 has an image that is"),
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("events", "kinds", "outcome", "words"), [row[1:] for row in STREAMS], ids=[r[0] for r in STREAMS]
)
def test_a_stream_ends_with_its_image(
    events: list[bytes], kinds: str, outcome: Outcome | None, words: str, at_once: bool
) -> None:
    reader = IMAGES.event_reader(ReadOptions(batch=InputBatch(1, 1)))
    for batch in [events] if at_once else [[one] for one in events]:
        reader.feed(batch)
    reply = reader.close()
    assert reply.chunk_kind == kinds
    assert (None if reply.problem is None else reply.problem.outcome) is outcome
    assert words in ("" if reply.problem is None else reply.problem.message)
    if outcome is None:
        assert (reply.complete, reply.input_tokens) == (True, 7)
    assert (reader.tokens_so_far, reader.first_token) == (0, None)


def test_a_line_that_calls_an_event_an_error_is_believed() -> None:
    reader = IMAGES.event_reader(ReadOptions())
    reader.feed([PARTIAL], [OtherLine(0, b"event: image_generation.partial_image")])
    reader.feed([b'{"message":"out of memory"}'], [OtherLine(1, b"event: error")])
    problem = reader.close(b"rest").problem
    assert problem is not None
    assert (problem.outcome, problem.message) == (Outcome.STREAM_ERROR, "out of memory")


@pytest.mark.parametrize(
    ("stream", "outcome", "words"),
    [
        (b'{"error": {"message": "blocked"}}\n\n', Outcome.STREAM_ERROR, "blocked"),
        (b'error: {"message": "blocked"}\n\n', Outcome.STREAM_ERROR, "blocked"),
        (b"event: error\n\n", Outcome.STREAM_ERROR, "event: error"),
        (b'data: {"error": {"message": "blocked"}}', Outcome.STREAM_ERROR, "blocked"),
        (b"<html><title>Sign in</title></html>\n", Outcome.MALFORMED, "an HTML page ('Sign in')"),
    ],
)
def test_what_is_no_event_of_images_tells_why_there_is_none(stream: bytes, outcome: Outcome, words: str) -> None:
    problem = read("images", stream).problem
    assert problem is not None
    assert problem.outcome is outcome
    assert words in problem.message


def test_types_may_stand_in_the_event_lines_alone_and_usage_may_be_anything() -> None:
    lines = [b"event: image_generation.%s\ndata: %s\n\n" % (kind, orjson.dumps({"b64_json": PNG, "usage": [1]}))
             for kind in (b"partial_image", b"completed")]  # fmt: skip
    reply = read("images", b"".join(lines))
    assert (reply.chunk_kind, reply.problem, reply.complete, reply.input_tokens) == ("ii", None, True, None)


def test_the_end_in_the_middle_of_an_event_is_told() -> None:
    problem = IMAGES.event_reader(ReadOptions()).close(b"data: {").problem
    assert problem is not None
    assert "in the middle of an event (7 bytes of it came)" in problem.message


def test_prompts_have_exact_lengths_and_the_run_asks_for_no_stream() -> None:
    config = resolve({"url": "http://h", "endpoint": "images", "input_tokens": "20"})
    assert (config.stream, config.output_tokens, config.batch_inputs) == (False, None, None)
    assert config.input_tokens == "20"
    assert resolve({"url": "http://h", "endpoint": "images"}).input_tokens == "64"
    assert resolve({"url": "http://h"}).input_tokens == "1024"


def test_rows_with_prompts_are_sent(tmp_path: Any) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a dog"}\n{"body": {"prompt": "a bird", "n": 2}}')
    config = resolve({"url": "http://h", "endpoint": "images", "dataset": str(tmp_path / "rows.jsonl")})
    first, second = source_of(config, None).at(0), source_of(config, None).at(1)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert (first.prompt, second.body) == ("a dog", {"prompt": "a bird", "n": 2})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"slo": ["ttft:p90<1s"]}, "generates no text, so there is no ttft: use ttfi, e2el"),
        ({"batch_inputs": "2"}, "and the endpoint is images: --extra-body has its own fields"),
        ({"output_tokens": 5}, "--output-tokens is about generated text"),
        ({"extra_body": {"max_tokens": 5}}, "--extra-body: max_tokens is about generated text"),
        ({"images": "n=1"}, "--images"),
    ],
)
def test_what_does_not_go_with_images_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "endpoint": "images", **given})
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


def test_objectives_on_the_first_image_are_for_images() -> None:
    resolve({"url": "http://h", "endpoint": "images", "slo": ["ttfi:p90<1s", "inputs_per_s>1"]})
    with pytest.raises(UsageError, match="the endpoint chat has no ttfi"):
        resolve({"url": "http://h", "slo": ["ttfi:p90<1s"]})
